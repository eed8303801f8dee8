// Package wire is the protocol between the two sides of the power-cut harness: the
// load in the guest, and the host, which lists the answered calls and cuts the power.
//
// The guest sends one line at a time and continues when the host has answered it.
// So the host knows of a layer's call before the call begins. A call that succeeded
// in the guest may be lost with the machine, as an engine's answer may be.
//
//	wire.go  the lines: plans and events
//	line.go  the connection, one line at a time
package wire
