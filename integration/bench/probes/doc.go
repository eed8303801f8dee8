// Package probes measures how long functions of a running Go program take,
// without its help: by uprobes at their entries and at each of their return
// instructions (a uretprobe would change the stack, which Go moves).
//
//	program.go  functions of a Go program's file, stripped or not
//	returns.go  where a function returns
//	tracefs.go  the kernel's side: setting probes, reading what they saw
//	calls.go    calls, out of what probes saw
//
// It knows nothing of which functions are worth it.
package probes
