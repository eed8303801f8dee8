// Package pluginimage makes an image of the managed plugin, for registries. It is what `docker
// plugin push` would make, without a dockerd.
//
//	image.go   Image, Read
//	tar.go     the plugin's files as a tar, and its description
//	layout.go  the image as an OCI image layout in a tar, which a release has
//	push.go    Push to a registry
package pluginimage
