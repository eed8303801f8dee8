package zfs

import (
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Begin is the first record of a stream.
type Begin struct {
	ToGUID   uint64 // GUID of the snapshot in the stream
	FromGUID uint64 // GUID of the snapshot that the receiver needs; 0 in a full stream
	ToName   string // name of the snapshot at the sender
	Type     Type

	features uint64
	raw      []byte
}

// BeginSize is the length of the first record.
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
// include/sys/zfs_ioctl.h) that need a feature of the receiving pool, with its GUID
// (module/zcommon/zfeature_common.c).
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

// rawFeature is DMU_BACKUP_FEATURE_RAW: the stream has encrypted blocks, and the dataset needs
// the sender's key.
const rawFeature = 1 << 24

// IsRaw reports whether the stream has encrypted blocks.
func (b Begin) IsRaw() bool { return b.features&rawFeature != 0 }

// Features returns the GUIDs of the features that the receiving pool needs.
func (b Begin) Features() (guids []string) {
	for _, f := range streamFeatures {
		if b.features&f.flag != 0 {
			guids = append(guids, f.guid)
		}
	}
	return guids
}
