// Package race measures storage drivers: it makes the calls of an engine on every contender
// in turns, on one pool, and puts their times into a report.
//
// Before each measurement the pool is synced and no contender works in the background, so
// that none pays for another's writes. Caches are warm unless a row says otherwise.
// Package contenders opens the contenders, package judge says what figures mean.
//
//	runner.go, turn.go  groups, entries, turns and their limits
//	groups.go           all groups in order
//	cycle.go, depth.go  small layers: create, mount, write, remove
//	apply.go            layer tars: apply, diff, remove
//	build.go            the storage calls of a build
//	changes.go          changes and sizes of containers
//	containers.go       containers of one image in parallel
//	copyup.go           first changes of files
//	snapshots.go        containerd's snapshots
//	start.go            starts of the plugin on large stores, in caches or cold
//	memory.go, usage.go memory, threads and leaks
//	files.go            files that turns write
//	tarcache.go         the layers' tars
package race
