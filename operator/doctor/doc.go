// Package doctor examines whether a host is fit for overlayzfs, and says for
// each thing it looked at what it found, why that matters and what to do.
//
// It has two halves that do not mix: Gather reads the system and judges nothing,
// Examine judges Facts and reads nothing. So every judgement is tested with the
// facts of a host that has the fault.
//
// What is written about versions of Linux and OpenZFS comes from OpenZFS's own
// releases (META's Linux-Maximum, and the commits that fixed a defect), and is in
// versions.go.
package doctor
