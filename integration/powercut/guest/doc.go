// Package guest is the part of the power-cut harness that runs in the machine:
// it starts a storage driver, tells the host how it finds what the host has in
// its list, and then makes, fills and removes layers until the power is cut.
//
//	main.go       a machine's errand
//	driver.go     what keeps layers, as the load sees it
//	graphdriver.go a storage driver: the plugin's process behind its socket
//	overlay2.go   moby's, for comparison
//	snapshotter.go the snapshotter's process behind its socket
//	shown.go      how its snapshots are mounted
//	records.go    what the snapshotter has in its records
//	check.go      how layers are found
//	inventory.go  what lies in the store
//	load.go       the workers
//	make.go       what they do: images, steps
//	container.go  containers
//	view.go       views of snapshots
//	nodes.go      which layers they may use
//
// and, for the tier with the whole engine,
//
//	engine.go      dockerd and its data-root
//	enginecheck.go whether it can give what it lists
//	engineload.go  clients at work
//	containerd.go  an engine that keeps its images in a containerd
//	tb.go          the harness for engines, outside of a test
package guest
