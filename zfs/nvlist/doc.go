// Package nvlist is the codec for packed name-value lists, the argument and
// answer format of ioctls on /dev/zfs: Encode makes one, Decode reads one.
//
// It handles the native encoding in little-endian byte order, which is what
// OpenZFS's module speaks on amd64 and arm64 (include/sys/nvpair.h,
// unchanged from OpenZFS 2.1 to 2.4). The portable XDR encoding is not
// handled. What names and values mean is not known here.
package nvlist
