// Package containerd tests the snapshotter in a real containerd, in the lab
// (build tag vm), with the configuration under dist/. It needs no Docker, and
// runs with each containerd that a suite of the lab has.
//
//	images_*  what an image is unpacked into, and containers of it, while the
//	          snapshotter dies and comes back
//	cri_*     pods: what a kubelet asks containerd's CRI for
//	socket_*  the socket that systemd passes
//	dist_*    the other files under dist/
//
// The snapshots API by itself, and containerd's own suite for it, is package
// snapshots'; Docker's use of it is package imagestore's.
package containerd
