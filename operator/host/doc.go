// Package host knows a host: where it has its store of layers and Docker's records,
// and what setup makes on it.
//
// FindStore locates both as an administrator would: by what a flag says, by daemon.json,
// and by the settings of the installed plugin. SnapshotterDataset does it for the
// snapshotter.
//
// Setup has three parts that do not mix: Gather looks at the host, Decide makes a
// plan of what was seen and changes nothing, Plan.Do carries the plan out. Every
// step leaves the host in a state that Decide understands, so that an interrupted
// setup is finished by running it again. Steps already done are skipped. Nothing is
// destroyed and no data is moved.
//
//	find.go, snapshotter.go   FindStore and SnapshotterDataset: where the store is
//	read.go, store.go         open the store and Docker's records
//	facts.go                  Request, Facts, Gather
//	decide.go                 Decide: checks, and the order of the steps
//	datasets.go, config.go    the steps for datasets and for daemon.json
//	boot.go                   the drop-ins of systemd's units
//	plan.go                   Plan, Step, and how they are carried out
//	remove.go, leavesnapshotter.go, destroylayers.go
//	                          PlanRemoval: what takes overlayzfs from a host
//
// Package doctor knows which properties are advised, packages overlayzfs and
// dockerstore know what lies in a store and in the records.
package host
