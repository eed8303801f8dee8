// Package e2e tests the managed plugin as the storage driver of a real
// dockerd, and the snapshotter of a real containerd, in the lab (build tag vm).
//
//	images_*     what images and containers hold: built by both builders,
//	             carried to and from an engine on vfs, run, changed, committed,
//	             pruned. vfs copies plain directories and knows no overlayfs:
//	             where both give the same tree, the tree is right.
//	lifecycle_*  what becomes of them when the plugin or the engine stops,
//	             crashes or is upgraded
//	limits_*     containers with limits and properties of their own
//	containerd_* images and containers of a containerd on the snapshotter, which
//	             dies and comes back
//	migrate_*    engines that are moved from another storage driver, and back,
//	             killed and cut off on the way
//	rollback_*   going back to a snapshot, with Docker's records
//	operator_*   the operator's command on the store of an engine, the doctor's
//	             remedies among it
//	setup_*      a host that the operator's command prepared
//	newcomer_*   README.md and docs/quickstart-plugin.md, followed from the first command to the last
//	transfer_*   images sent to an engine on another pool
//
// The images are of Debian packages and of files made by the tests: nothing is
// pulled. integration/images/everything/Dockerfile does to layers what can be done to
// them. Packages treecmp and engine do the comparing and the starting.
package e2e
