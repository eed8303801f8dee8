package zfs

import (
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Begin is what the first record of a stream says.
type Begin struct {
	ToGUID   uint64 // of the snapshot in the stream
	FromGUID uint64 // of the snapshot that the receiver has to have; 0 in a full stream
	ToName   string // of the snapshot, where it came from
	Type     Type

	features uint64
	raw      []byte
}

// BeginSize is how long the first record is.
const BeginSize = sizeRecord

// ParseBegin reads the first record of a stream of one snapshot.
func ParseBegin(raw []byte) (Begin, error) {
	refuse := func(format string, args ...any) (Begin, error) {
		return Begin{}, fault.New(fault.Invalid, "no stream of a ZFS snapshot: "+format, args...)
	}
	if len(raw) < sizeRecord {
		return refuse("%d bytes", len(raw))
	}
	raw = raw[:sizeRecord]
	if kind, magic := le.Uint32(raw[offRecordType:]), le.Uint64(raw[offBeginMagic:]); kind != recordBegin || magic != beginMagic {
		return refuse("it begins with record %d, %#x", kind, magic)
	}
	info := le.Uint64(raw[offBeginInfo:])
	if kind := info & (1<<infoTypeBits - 1); kind != infoSubstream {
		return refuse("it is of kind %d", kind)
	}
	b := Begin{
		ToGUID: le.Uint64(raw[offBeginTo:]), FromGUID: le.Uint64(raw[offBeginFrom:]), ToName: cString(raw[offBeginToName:sizeRecord]),
		Type: Filesystem, features: info >> infoTypeBits, raw: append([]byte(nil), raw...),
	}
	switch kind := le.Uint32(raw[offBeginType:]); kind {
	case objsetFilesystem:
	case objsetVolume:
		b.Type = Volume
	default:
		return refuse("its data set is of kind %d", kind)
	}
	return b, nil
}

// streamFeatures are the flags of a stream (DMU_BACKUP_FEATURE_… of
// include/sys/zfs_ioctl.h) that want a feature of the pool it is received on, by
// its GUID (module/zcommon/zfeature_common.c).
var streamFeatures = []struct {
	flag uint64
	guid string
}{
	{1 << 16, "com.delphix:embedded_data"},
	{1 << 17, "org.illumos:lz4_compress"},
	{1 << 19, "org.open-zfs:large_blocks"},
	{1 << 21, "com.delphix:redacted_datasets"},
	{1 << 23, "org.zfsonlinux:large_dnode"},
	{1 << 25, "org.freebsd:zstd_compress"},
	{1 << 28, "org.zfsonlinux:longname"},
	{1 << 29, "com.klarasystems:large_microzap"},
}

// Features are the GUIDs of the pool's features that the stream needs where it is
// received.
func (b Begin) Features() (guids []string) {
	for _, f := range streamFeatures {
		if b.features&f.flag != 0 {
			guids = append(guids, f.guid)
		}
	}
	return guids
}
