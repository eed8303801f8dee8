// Package e2e tests the managed plugin as the storage driver of a real dockerd, in the
// lab (build tag vm). Packages containerd and imagestore test the snapshotter.
//
//	helpers_*    engines, stores, the host and its processes
//	images_*     content of images and containers, compared with an engine on vfs. vfs
//	             copies plain directories: a tree that both give is right
//	lifecycle_*  the plugin or the engine stops, crashes, is upgraded, refuses to start
//	limits_*     containers with limits and dataset properties
//	migrate_*    migration from and to other storage drivers, killed, and with power cuts
//	rollback_*   rollback to a snapshot, and restore from a backup
//	operator_*   the operator's command on an engine's store: ls, df, verify, gc, and
//	             doctor with its remedies
//	hosts_*      commands that change a host, killed at random moments and run again
//	setup_*      an engine on a host that overlayzfs setup prepared
//	newcomer_*   README.md and docs/quickstart-plugin.md, followed from the first command
//	             to the last
//	transfer_*   images sent to an engine on another pool
//
// Nothing is pulled: images hold Debian packages and files that the tests make. Package
// images makes them, package treecmp compares them, package engine starts engines.
package e2e
