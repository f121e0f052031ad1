// A key typed into the page stays in its memory: it is gone when the page is.
// No deep links: they are links inside of buttons, which keyboards and screen readers stumble over.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: false,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  persistAuthorization: false,
  queryConfigEnabled: false,
  validatorUrl: null,
});
