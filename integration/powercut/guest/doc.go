// Package guest is the part of the power-cut harness that runs in the machine:
// it starts a storage driver, tells the host how it finds what the host has in
// its list, and then makes, fills and removes layers until the power is cut.
//
//	main.go       a machine's errand
//	driver.go     the driver as the load sees it
//	overlayzfs.go the plugin's process behind its socket
//	overlay2.go   moby's driver, for comparison
//	check.go      how layers are found
//	inventory.go  what lies in the store
//	load.go       the workers
//	make.go       what they do: images, steps, containers
//	nodes.go      which layers they may use
//
// and, for the tier with the whole engine,
//
//	engine.go      dockerd and its data-root
//	enginecheck.go whether it can give what it lists
//	engineload.go  clients at work
//	tb.go          the harness for engines, outside of a test
package guest
