// Package engine races storage drivers below whole engines: a real dockerd for each
// contender, side by side in one machine. Each has its data-root on its own dataset of one
// pool. The rows measure what a user waits for, the work of the engine and of the container
// runtime included.
//
//	contender.go    contenders and their engines
//	testingstub.go  a testing.TB for the engines' harness, outside of tests
//	api.go          calls of the engine's API
//	images.go       content of images and build contexts
//	disk.go         the space that a contender uses
//	workload.go     workloads and their rows; also container.go and build.go
//	storage.go      the time spent in calls of the storage driver
//	race.go         rounds, and the report
//	trace.go        the plugin's own calls
//	copyup.go, busy.go, limit.go  first changes, a neighbour that writes, limits
//	store.go        engines with the containerd image store; storecopyup.go, cri.go
//
// Package race measures drivers without an engine. Package judge says what figures mean.
package engine
