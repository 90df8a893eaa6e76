"""The studio: static files without a build step, which the server shows at /."""
