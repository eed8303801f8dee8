// Package containerd tests the snapshotter in a real containerd, in the lab (build tag
// vm), with the configuration under dist/. It needs no Docker, and runs with every
// containerd that a suite of the lab has.
//
//	images_*  unpacked images and their containers, while the snapshotter crashes
//	cri_*     pods: the calls of a kubelet to containerd's CRI
//	socket_*  the socket that systemd passes
//	dist_*    the other files under dist/
//
// Package snapshots runs containerd's own suite against the snapshots API. Package
// imagestore tests Docker's use of containerd.
package containerd
