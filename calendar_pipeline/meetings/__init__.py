"""Meeting links: which link of an event, or which URL given by a person, leads into a video meeting.

Pure throughout: text in, values out; nothing here opens a link, and no input makes it raise or run long. A link's host
must be on the list exactly or as a subdomain of it, after wrappers of mail filters were opened; a link that merely
looks like one is no link.
"""
