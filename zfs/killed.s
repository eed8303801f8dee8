// Empty: a Go file with functions of the runtime needs an assembly file beside it.
