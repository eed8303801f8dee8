package zfs

import (
	"unsafe"

	"github.com/overlayzfs/overlayzfs/internal/versions"
)

// This file holds every number and offset of the kernel interface that the
// package uses; abi_test.go holds each against an independent statement of it.
//
// /dev/zfs has one argument block for all requests, struct zfs_cmd
// (include/sys/zfs_ioctl.h). Its size, its offsets and the numbers of the
// requests (enum zfs_ioc of include/sys/fs/zfs.h) are the same from OpenZFS
// 2.1.0 to 2.4.4 on Linux, amd64 and arm64 alike.

// The versions whose interface was compared.
var (
	oldestKnown = versions.Version{2, 1}
	newestKnown = versions.Version{2, 4}
)

// cmdSize is sizeof(struct zfs_cmd).
const cmdSize = 13744

// Offsets into struct zfs_cmd, named after its members without "zc_".
const (
	offName         = 0     // char[4096]
	offSrc          = 4096  // uint64, address of the packed argument
	offSrcSize      = 4104  // uint64
	offDst          = 4112  // uint64, address of the buffer for the answer
	offDstSize      = 4120  // uint64, in: its size; out: what was or would be needed
	offDstFilled    = 4128  // uint32
	offValue        = 4144  // char[8192]
	offGUID         = 12592 // uint64
	offCookie       = 12616 // uint64
	offObjsetType   = 12624 // uint64
	offPermAction   = 12632 // uint64, 1: take permissions away
	offObj          = 12656 // uint64
	offStats        = 12704 // dmu_objset_stats_t
	offDeferDestroy = 13648 // uint32
	offSimple       = 13668 // uint8
)

// Sizes of members of struct zfs_cmd.
const (
	sizeName  = 4096
	sizeValue = 8192
	sizeStats = 288
)

// Offsets into dmu_objset_stats_t (include/sys/dmu.h), named after its
// members without "dds_".
const (
	offStatsClones     = 0  // uint64
	offStatsTXG        = 8  // uint64
	offStatsGUID       = 16 // uint64
	offStatsType       = 24 // uint32, dmu_objset_type_t
	offStatsIsSnapshot = 28 // uint8
	offStatsOrigin     = 31 // char[256]
	sizeStatsOrigin    = 256
)

// zfs_useracct_t of include/sys/zfs_ioctl.h: what USERSPACE_MANY answers.
const (
	sizeUseracct     = 272
	offUseracctRID   = 256 // uint32
	offUseracctSpace = 264 // uint64
)

// request is the number of an ioctl.
type request uint32

// The requests (enum zfs_ioc).
const (
	iocPoolStats        request = 0x5a05
	iocObjsetStats      request = 0x5a12
	iocObjsetZPLProps   request = 0x5a13
	iocDatasetListNext  request = 0x5a14
	iocSnapshotListNext request = 0x5a15
	iocSetProp          request = 0x5a16
	iocCreate           request = 0x5a17
	iocDestroy          request = 0x5a18
	iocRollback         request = 0x5a19
	iocRename           request = 0x5a1a
	iocSnapshot         request = 0x5a23
	iocPoolGetProps     request = 0x5a27
	iocSetFsACL         request = 0x5a28
	iocInheritProp      request = 0x5a2b
	iocUserspaceOne     request = 0x5a2d
	iocUserspaceMany    request = 0x5a2e
	iocHold             request = 0x5a30
	iocRelease          request = 0x5a31
	iocGetHolds         request = 0x5a32
	iocDestroySnaps     request = 0x5a3b
	iocSendNew          request = 0x5a40
	iocSendSpace        request = 0x5a41
	iocClone            request = 0x5a42
	iocGetBookmarks     request = 0x5a44
	iocDestroyBookmarks request = 0x5a45
	iocRecvNew          request = 0x5a46
	iocPoolSync         request = 0x5a47
	iocChangeKey        request = 0x5a4b

	// iocNone is a number beyond the last that any version has
	// (include/sys/fs/zfs.h: numbers are appended, 0x5a80 and on are the
	// platform's own). It is answered with errCmdUnavail.
	iocNone request = 0x5a7f
)

// dmu_objset_type_t of include/sys/dmu.h.
const (
	objsetFilesystem = 2 // DMU_OST_ZFS
	objsetVolume     = 3 // DMU_OST_ZVOL
)

// The property encryption (enum zio_encrypt of include/sys/zio.h) has ciphers above off. The
// property keystatus is zfs_keystatus_t of include/sys/fs/zfs.h.
const (
	encryptionOff  = 2 // ZIO_CRYPT_OFF
	keyUnavailable = 1 // ZFS_KEYSTATUS_UNAVAILABLE
)

// dcpForceInherit is DCP_CMD_FORCE_INHERIT of include/sys/dsl_crypt.h.
const dcpForceInherit = 5

// zfs_userquota_prop_t of include/sys/fs/zfs.h.
const (
	quotaProjectUsed     = 8
	quotaProjectQuota    = 9
	quotaProjectObjUsed  = 10
	quotaProjectObjQuota = 11
)

// Requests on a directory's descriptor, to read and to set struct fsxattr
// (include/uapi/linux/fs.h of Linux; OpenZFS 2.1 and later take the same).
const (
	fsGetXattr = 0x801c581f // FS_IOC_FSGETXATTR
	fsSetXattr = 0x401c5820 // FS_IOC_FSSETXATTR

	sizeFsxattr      = 28
	offFsxattrFlags  = 0  // uint32, fsx_xflags
	offFsxattrProjID = 12 // uint32, fsx_projid
)

// The flag of struct fsxattr that makes new files inherit the project ID.
const (
	projInheritVFS = 0x200      // FS_XFLAG_PROJINHERIT: OpenZFS 2.2.9+, 2.3.5+, 2.4
	projInheritOld = 0x20000000 // ZFS_PROJINHERIT_FL: releases before those
)

// The first record of a stream, dmu_replay_record_t with its drr_begin
// (include/sys/zfs_ioctl.h, the same from OpenZFS 2.1 to 2.4). RECV_NEW takes it
// as an argument, and the rest of the stream from a descriptor.
const (
	sizeRecord     = 312
	offRecordType  = 0  // uint32, drr_type
	offBeginMagic  = 8  // uint64, drr_magic
	offBeginInfo   = 16 // uint64, drr_versioninfo
	offBeginType   = 32 // uint32, drr_type of drr_begin: dmu_objset_type_t
	offBeginTo     = 40 // uint64, drr_toguid
	offBeginFrom   = 48 // uint64, drr_fromguid
	offBeginToName = 56 // char[256]

	recordBegin = 0           // DRR_BEGIN
	beginMagic  = 0x2f5bacbac // DMU_BACKUP_MAGIC
	// drr_versioninfo: DMU_SUBSTREAM or DMU_COMPOUNDSTREAM in the lowest two bits,
	// flags of features above.
	infoSubstream = 1
	infoTypeBits  = 2

	// byteArray is DATA_TYPE_BYTE_ARRAY of include/sys/nvpair.h.
	byteArray = 10
)

// littleEndian reports whether this machine has the byte order that the
// package packs arguments in.
func littleEndian() bool {
	n := uint16(1)
	return *(*byte)(unsafe.Pointer(&n)) == 1
}
