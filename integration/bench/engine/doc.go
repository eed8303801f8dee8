// Package engine races storage drivers below whole engines: a real dockerd for
// each contender, side by side in one machine, each with its data-root on a
// dataset of its own on one pool. What is measured is what a user waits for,
// the engine's own work and the container runtime's included.
//
//	contender.go  who races, and their engines
//	stage.go      what stands in for a test when engines are started
//	api.go        the few calls of the engine's API that are made
//	images.go     what images and build contexts hold
//	disk.go       the space a contender uses, once it is settled
//	workload.go   what is done and measured; container.go, build.go: how
//	storage.go    how much of it was in calls of the storage driver
//	race.go       the order of it all, and the report
//	trace.go      where the time of our own calls went
//
// What drivers do without an engine, and how long it takes them, belongs to
// the race of graphdrivers beside this package; what figures mean, to those
// who read the report.
package engine
