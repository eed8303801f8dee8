// Package imagestore tests the snapshotter below Docker's containerd image store, which
// Docker 28 and later use, in the lab (build tag vm). It needs a suite whose dockerd has
// that store. containerd and dockerd run with the files under dist/.
//
//	images_*     content of images and containers: built, imported, loaded, saved,
//	             changed, committed and pruned, compared with an engine on containerd's
//	             overlayfs
//	lifecycle_*  the snapshotter, containerd or the engine stop or crash
//	migrate_*    an engine is moved from graphdrivers to the snapshotter, and back
//	limits_*     limits of containers, and the sizes that Docker shows
//
// Package e2e tests the graphdriver plugin, for older engines. Package containerd tests
// containerd without Docker.
package imagestore
