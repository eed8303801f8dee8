// Package overlayfs knows the signs that overlayfs writes into an upper directory: whiteout
// devices and the trusted.overlay attributes (fs/overlayfs/overlayfs.h of the kernel).
package overlayfs
