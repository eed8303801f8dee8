package zfs

import (
	"testing"
	"unsafe"
)

// The structures as the headers of OpenZFS have them, member by member, so
// that the compiler works out sizes and offsets anew.

// zfsCmd is struct zfs_cmd of include/sys/zfs_ioctl.h.
type zfsCmd struct {
	name          [4096]byte // MAXPATHLEN
	nvlistSrc     uint64
	nvlistSrcSize uint64
	nvlistDst     uint64
	nvlistDstSize uint64
	dstFilled     uint32 // boolean_t
	_             int32
	_             uint64 // history
	value         [2 * 4096]byte
	_             [256]byte // string, MAXNAMELEN
	guid          uint64
	_             uint64 // nvlist_conf
	_             uint64 // nvlist_conf_size
	cookie        uint64
	objsetType    uint64
	permAction    uint64
	_             uint64 // history_len
	_             uint64 // history_offset
	obj           uint64
	_             uint64    // iflags
	_             [4]uint64 // zfs_share_t
	objsetStats   objsetStats
	_             drrBeginMembers
	inject        struct { // a union as large as zinject_record_t
		_            [zinjectSize - 16]byte
		deferDestroy uint32
		_            uint32 // flags
		_            uint64 // action_handle
	}
	_      int32 // cleanup_fd
	simple uint8
	_      [3]uint8
	_      uint64    // sendobj
	_      uint64    // fromobj
	_      uint64    // createtxg
	_      [5]uint64 // zfs_stat_t: gen, mode, links, ctime[2]
	_      uint64    // zoneid
}

// objsetStats is dmu_objset_stats_t of include/sys/dmu.h.
type objsetStats struct {
	numClones   uint64
	creationTXG uint64
	guid        uint64
	kind        uint32
	isSnapshot  uint8
	_           uint8     // inconsistent
	_           uint8     // redacted
	origin      [256]byte // ZFS_MAX_DATASET_NAME_LEN
	_           uint8     // flags
}

// drrBeginMembers is struct drr_begin of include/sys/zfs_ioctl.h.
type drrBeginMembers struct {
	magic       uint64
	versionInfo uint64
	_           uint64 // creation_time
	kind        uint32
	_           uint32 // flags
	toGUID      uint64
	fromGUID    uint64
	toName      [256]byte
}

// replayRecord is dmu_replay_record_t, whose other members are no larger.
type replayRecord struct {
	kind  uint32
	_     uint32 // payloadlen
	begin drrBeginMembers
}

// zinjectSize is the size of zinject_record_t, to which the part of the union
// that is used here is padded.
const zinjectSize = 368

// useracct is zfs_useracct_t of include/sys/zfs_ioctl.h.
type useracct struct {
	_     [256]byte // domain
	rid   uint32
	_     uint32
	space uint64
}

// fsxattrMembers is struct fsxattr of Linux's include/uapi/linux/fs.h.
type fsxattrMembers struct {
	xflags uint32
	_      uint32 // extsize
	_      uint32 // nextents
	projid uint32
	_      uint32 // cowextsize
	_      [8]byte
}

func TestOffsetsAndSizesAreTheHeaders(t *testing.T) {
	var c zfsCmd
	var s objsetStats
	var u useracct
	var x fsxattrMembers
	var r replayRecord
	tests := []struct {
		what string
		got  uintptr
		want uintptr
	}{
		{"sizeof zfs_cmd", cmdSize, unsafe.Sizeof(c)},
		{"name", offName, unsafe.Offsetof(c.name)},
		{"sizeof name", sizeName, unsafe.Sizeof(c.name)},
		{"nvlist_src", offSrc, unsafe.Offsetof(c.nvlistSrc)},
		{"nvlist_src_size", offSrcSize, unsafe.Offsetof(c.nvlistSrcSize)},
		{"nvlist_dst", offDst, unsafe.Offsetof(c.nvlistDst)},
		{"nvlist_dst_size", offDstSize, unsafe.Offsetof(c.nvlistDstSize)},
		{"nvlist_dst_filled", offDstFilled, unsafe.Offsetof(c.dstFilled)},
		{"value", offValue, unsafe.Offsetof(c.value)},
		{"sizeof value", sizeValue, unsafe.Sizeof(c.value)},
		{"guid", offGUID, unsafe.Offsetof(c.guid)},
		{"cookie", offCookie, unsafe.Offsetof(c.cookie)},
		{"objset_type", offObjsetType, unsafe.Offsetof(c.objsetType)},
		{"perm_action", offPermAction, unsafe.Offsetof(c.permAction)},
		{"defer_destroy", offDeferDestroy, unsafe.Offsetof(c.inject) + unsafe.Offsetof(c.inject.deferDestroy)},
		{"obj", offObj, unsafe.Offsetof(c.obj)},
		{"objset_stats", offStats, unsafe.Offsetof(c.objsetStats)},
		{"sizeof objset_stats", sizeStats, unsafe.Sizeof(c.objsetStats)},
		{"simple", offSimple, unsafe.Offsetof(c.simple)},
		{"num_clones", offStatsClones, unsafe.Offsetof(s.numClones)},
		{"creation_txg", offStatsTXG, unsafe.Offsetof(s.creationTXG)},
		{"guid of stats", offStatsGUID, unsafe.Offsetof(s.guid)},
		{"type", offStatsType, unsafe.Offsetof(s.kind)},
		{"is_snapshot", offStatsIsSnapshot, unsafe.Offsetof(s.isSnapshot)},
		{"origin", offStatsOrigin, unsafe.Offsetof(s.origin)},
		{"sizeof origin", sizeStatsOrigin, unsafe.Sizeof(s.origin)},
		{"sizeof zfs_useracct", sizeUseracct, unsafe.Sizeof(u)},
		{"rid", offUseracctRID, unsafe.Offsetof(u.rid)},
		{"space", offUseracctSpace, unsafe.Offsetof(u.space)},
		{"sizeof dmu_replay_record", sizeRecord, unsafe.Sizeof(r)},
		{"drr_type", offRecordType, unsafe.Offsetof(r.kind)},
		{"drr_magic", offBeginMagic, unsafe.Offsetof(r.begin) + unsafe.Offsetof(r.begin.magic)},
		{"drr_versioninfo", offBeginInfo, unsafe.Offsetof(r.begin) + unsafe.Offsetof(r.begin.versionInfo)},
		{"drr_type of drr_begin", offBeginType, unsafe.Offsetof(r.begin) + unsafe.Offsetof(r.begin.kind)},
		{"drr_toguid", offBeginTo, unsafe.Offsetof(r.begin) + unsafe.Offsetof(r.begin.toGUID)},
		{"drr_fromguid", offBeginFrom, unsafe.Offsetof(r.begin) + unsafe.Offsetof(r.begin.fromGUID)},
		{"drr_toname", offBeginToName, unsafe.Offsetof(r.begin) + unsafe.Offsetof(r.begin.toName)},
		{"sizeof fsxattr", sizeFsxattr, unsafe.Sizeof(x)},
		{"fsx_xflags", offFsxattrFlags, unsafe.Offsetof(x.xflags)},
		{"fsx_projid", offFsxattrProjID, unsafe.Offsetof(x.projid)},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: abi.go has %d, the headers %d", tt.what, tt.got, tt.want)
		}
	}
}

// requestOrder is enum zfs_ioc from its beginning ('Z' << 8).
var requestOrder = []string{
	"POOL_CREATE", "POOL_DESTROY", "POOL_IMPORT", "POOL_EXPORT", "POOL_CONFIGS", "POOL_STATS", "POOL_TRYIMPORT", "POOL_SCAN",
	"POOL_FREEZE", "POOL_UPGRADE", "POOL_GET_HISTORY", "VDEV_ADD", "VDEV_REMOVE", "VDEV_SET_STATE", "VDEV_ATTACH", "VDEV_DETACH",
	"VDEV_SETPATH", "VDEV_SETFRU", "OBJSET_STATS", "OBJSET_ZPLPROPS", "DATASET_LIST_NEXT", "SNAPSHOT_LIST_NEXT", "SET_PROP", "CREATE",
	"DESTROY", "ROLLBACK", "RENAME", "RECV", "SEND", "INJECT_FAULT", "CLEAR_FAULT", "INJECT_LIST_NEXT",
	"ERROR_LOG", "CLEAR", "PROMOTE", "SNAPSHOT", "DSOBJ_TO_DSNAME", "OBJ_TO_PATH", "POOL_SET_PROPS", "POOL_GET_PROPS",
	"SET_FSACL", "GET_FSACL", "SHARE", "INHERIT_PROP", "SMB_ACL", "USERSPACE_ONE", "USERSPACE_MANY", "USERSPACE_UPGRADE",
	"HOLD", "RELEASE", "GET_HOLDS", "OBJSET_RECVD_PROPS", "VDEV_SPLIT", "NEXT_OBJ", "DIFF", "TMP_SNAPSHOT",
	"OBJ_TO_STATS", "SPACE_WRITTEN", "SPACE_SNAPS", "DESTROY_SNAPS", "POOL_REGUID", "POOL_REOPEN", "SEND_PROGRESS", "LOG_HISTORY",
	"SEND_NEW", "SEND_SPACE", "CLONE", "BOOKMARK", "GET_BOOKMARKS", "DESTROY_BOOKMARKS", "RECV_NEW", "POOL_SYNC",
	"CHANNEL_PROGRAM", "LOAD_KEY", "UNLOAD_KEY", "CHANGE_KEY",
}

func TestRequestNumbersAreTheEnums(t *testing.T) {
	want := map[string]request{}
	for i, name := range requestOrder {
		want[name] = request('Z'<<8 + i)
	}
	got := map[string]request{
		"POOL_STATS": iocPoolStats, "OBJSET_STATS": iocObjsetStats, "OBJSET_ZPLPROPS": iocObjsetZPLProps, "DATASET_LIST_NEXT": iocDatasetListNext, "SNAPSHOT_LIST_NEXT": iocSnapshotListNext,
		"SET_PROP": iocSetProp, "CREATE": iocCreate, "DESTROY": iocDestroy, "ROLLBACK": iocRollback, "SNAPSHOT": iocSnapshot,
		"POOL_GET_PROPS": iocPoolGetProps, "SET_FSACL": iocSetFsACL, "INHERIT_PROP": iocInheritProp, "USERSPACE_ONE": iocUserspaceOne,
		"USERSPACE_MANY": iocUserspaceMany, "HOLD": iocHold, "RELEASE": iocRelease, "GET_HOLDS": iocGetHolds,
		"DESTROY_SNAPS": iocDestroySnaps, "POOL_SYNC": iocPoolSync, "CLONE": iocClone, "RENAME": iocRename, "CHANGE_KEY": iocChangeKey,
		"GET_BOOKMARKS": iocGetBookmarks, "DESTROY_BOOKMARKS": iocDestroyBookmarks,
		"SEND_NEW": iocSendNew, "SEND_SPACE": iocSendSpace, "RECV_NEW": iocRecvNew,
	}
	for name, number := range got {
		if want[name] != number {
			t.Errorf("%s is %#x in abi.go and %#x in the enum", name, number, want[name])
		}
	}
}

// ioctlNumber is Linux's _IOC(direction, 'X', number, size).
func ioctlNumber(direction, number, size uintptr) uintptr {
	return direction<<30 | size<<16 | 'X'<<8 | number
}

func TestXattrRequestNumbers(t *testing.T) {
	const write, read = 1, 2
	if got := ioctlNumber(read, 31, sizeFsxattr); got != fsGetXattr {
		t.Errorf("FS_IOC_FSGETXATTR is %#x", got)
	}
	if got := ioctlNumber(write, 32, sizeFsxattr); got != fsSetXattr {
		t.Errorf("FS_IOC_FSSETXATTR is %#x", got)
	}
}

// TestSmallEnums repeats what the headers count: dmu_objset_type_t, zio_encrypt,
// zfs_keystatus_t, dcp_cmd_t, zfs_userquota_prop_t, zfs_errno_t.
func TestSmallEnums(t *testing.T) {
	objset := []string{"NONE", "META", "ZFS", "ZVOL"}
	if objset[objsetFilesystem] != "ZFS" || objset[objsetVolume] != "ZVOL" {
		t.Error("dmu_objset_type_t")
	}
	if crypt := []string{"INHERIT", "ON", "OFF", "AES_128_CCM"}; crypt[encryptionOff] != "OFF" {
		t.Error("enum zio_encrypt")
	}
	if keys := []string{"NONE", "UNAVAILABLE", "AVAILABLE"}; keys[keyUnavailable] != "UNAVAILABLE" {
		t.Error("zfs_keystatus_t")
	}
	if commands := []string{"NONE", "RAW_RECV", "NEW_KEY", "INHERIT", "FORCE_NEW_KEY", "FORCE_INHERIT"}; commands[dcpForceInherit] != "FORCE_INHERIT" {
		t.Error("dcp_cmd_t")
	}
	quota := []string{"USERUSED", "USERQUOTA", "GROUPUSED", "GROUPQUOTA", "USEROBJUSED", "USEROBJQUOTA", "GROUPOBJUSED",
		"GROUPOBJQUOTA", "PROJECTUSED", "PROJECTQUOTA", "PROJECTOBJUSED", "PROJECTOBJQUOTA"}
	if quota[quotaProjectUsed] != "PROJECTUSED" || quota[quotaProjectQuota] != "PROJECTQUOTA" ||
		quota[quotaProjectObjUsed] != "PROJECTOBJUSED" || quota[quotaProjectObjQuota] != "PROJECTOBJQUOTA" {
		t.Error("zfs_userquota_prop_t")
	}
	errnos := []string{"CHECKPOINT_EXISTS", "DISCARDING_CHECKPOINT", "NO_CHECKPOINT", "DEVRM_IN_PROGRESS", "VDEV_TOO_BIG",
		"IOC_CMD_UNAVAIL", "IOC_ARG_UNAVAIL", "IOC_ARG_REQUIRED", "IOC_ARG_BADTYPE", "WRONG_PARENT", "FROM_IVSET_GUID_MISSING",
		"FROM_IVSET_GUID_MISMATCH", "SPILL_BLOCK_FLAG_MISSING", "UNKNOWN_SEND_STREAM_FEATURE", "EXPORT_IN_PROGRESS",
		"BOOKMARK_SOURCE_NOT_ANCESTOR", "STREAM_TRUNCATED", "STREAM_LARGE_BLOCK_MISMATCH", "RESILVER_IN_PROGRESS",
		"REBUILD_IN_PROGRESS", "BADPROP", "VDEV_NOTSUP", "NOT_USER_NAMESPACE", "RESUME_EXISTS"}
	for errno, name := range map[int]string{
		int(errCmdUnavail): "IOC_CMD_UNAVAIL", int(errArgUnavail): "IOC_ARG_UNAVAIL", int(errArgRequired): "IOC_ARG_REQUIRED",
		int(errArgBadType): "IOC_ARG_BADTYPE", int(errExporting): "EXPORT_IN_PROGRESS", int(errBadProp): "BADPROP",
		int(errNotUserNS): "NOT_USER_NAMESPACE", int(errResumeExists): "RESUME_EXISTS",
		int(errStreamUnknown): "UNKNOWN_SEND_STREAM_FEATURE", int(errTruncated): "STREAM_TRUNCATED",
	} {
		if errnos[errno-int(firstZFSErrno)] != name {
			t.Errorf("%d is not %s", errno, name)
		}
	}
}
