// Package imagestore tests the snapshotter below Docker's containerd image
// store, as Docker 28 and later use it, in the lab (build tag vm): a suite whose
// dockerd has one. containerd and dockerd run with the files under dist/.
//
//	images_*     what images and containers hold: built, imported, loaded and
//	             saved, run, changed, committed and pruned, beside an engine on
//	             containerd's overlayfs
//	lifecycle_*  what becomes of them when the snapshotter, containerd or the
//	             engine stop or crash
//	limits_*     what containers may take, and what they are said to take
//
// The graphdriver plugin, for engines before, is package e2e's; containerd by
// itself is package containerd's.
package imagestore
