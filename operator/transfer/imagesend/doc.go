// Package imagesend writes the images of a containerd as a stream of package images. It reads
// containerd's records and the files of its content store; containerd may run.
package imagesend
