// Package lateopen holds a value that may take long to open, or fail to, and that many
// callers share: the Driver behind the plugin's socket, the store behind the snapshotter's.
//
// One attempt to open the value runs at a time. Callers that come while it runs wait for it
// and share its outcome, as long as their contexts allow. A value that was opened is kept.
// After a failure the next caller begins another attempt. A panic in an attempt is an error.
//
// An attempt runs in the context of the caller that begins it, so that a caller that goes
// away ends it; such a failure means nothing to others, and the next of them opens the value
// itself. With Options.Detached an attempt runs in a context of the Value, outlives its
// callers, and ends with CancelOpen or Close.
package lateopen
