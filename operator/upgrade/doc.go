// Package upgrade replaces the plugin's program by another version, and keeps the store: in
// place, too, where the layers lie in the plugin's own directory. A plugin made by
// `docker plugin create` has no registry that `docker plugin upgrade` could ask.
//
// An interrupted upgrade leaves a disabled plugin of the old version or the new one, and
// running it again enables it. While dockerd is stopped, Enable does that in Docker's record.
//
//	upgrade.go  Gather, Plan, Run
//	inflight.go Await: what dockerd still does for a command that was killed
//	enable.go   Enable
package upgrade
