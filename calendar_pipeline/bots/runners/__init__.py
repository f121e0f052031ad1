"""Those who run bots, each as `port.BotRunner`."""
