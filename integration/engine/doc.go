// Package engine runs real dockerd processes for tests, inside the lab. Engines run
// one at a time or side by side, each with its own data-root, sockets and log. For
// engines that use containerd's snapshotters, the package also runs the snapshotter's
// daemon and a containerd on it.
//
// It starts, stops and kills them and calls their command lines. What is tested is the
// caller's business.
//
//	process.go      a program that is started, ended and started again
//	engine.go       dockerd
//	api.go          the engine's API, which costs less than a docker command
//	containers.go   containers by that API
//	plugin.go       the managed plugin as dockerd's storage driver
//	snapshotter.go  the snapshotter's daemon, and the layers in its store
//	containerd.go   containerd on the snapshotter; plaincontainerd.go one with its defaults
//	health.go       the health of a snapshotter at a socket
//	operator.go     the operator's command on the snapshotter's store
//	writer.go       a process in a container that writes, and what it wrote
//	registry.go     a registry to push to and pull from
package engine
