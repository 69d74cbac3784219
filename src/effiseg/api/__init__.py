"""The commands as functions of `import effiseg`.

Settings have the names of the command line and of YAML files. Mistakes raise subclasses of `EffisegError` with one
line; nothing ends the process.
"""
