"""One typed function a file. Its signature is the API, the command line and the YAML keys.

Recipes import the library inside the function, so that `sfumato --help` stays instant.
"""
