// Package probes measures the time that functions of a running Go program take. It sets
// uprobes at their entries and at each of their return instructions: a uretprobe would
// change the stack, which Go moves. The program needs no support for it.
//
//	program.go  functions in a Go program's file, stripped or not
//	returns.go  return instructions of a function
//	tracefs.go  the kernel's side: set probes, read the trace
//	calls.go    calls, parsed from the trace
package probes
