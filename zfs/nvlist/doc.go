// Package nvlist encodes and decodes packed name-value lists, the format of arguments and
// answers of ioctls on /dev/zfs.
//
// It handles the native encoding in little-endian byte order, which OpenZFS's module uses on
// amd64 and arm64 (include/sys/nvpair.h, unchanged from OpenZFS 2.1 to 2.4). It does not
// handle the portable XDR encoding. It does not know the meaning of names and values.
package nvlist
