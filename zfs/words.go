package zfs

import (
	"slices"
	"strconv"
	"strings"
)

// The values of the sync property (zfs_sync_type_t of include/sys/fs/zfs.h).
const (
	SyncStandard uint64 = 0
	SyncAlways   uint64 = 1
	SyncDisabled uint64 = 2
)

// Numbers of enum zio_compress of include/sys/zio.h. A level lies above the algorithm (SPA_COMPRESSBITS of
// include/sys/spa.h); only zstd has levels.
const (
	compressGzip1     = 5
	compressZstd      = 16
	compressLevelBits = 7
	maxZstd           = 19
	defaultGzip       = 6 // the level of "gzip"
)

// noWord marks a number that is not a value of the property.
const noWord = "\x00"

// words lists the values of properties that are words for people and numbers for the kernel,
// by their number (include/sys/fs/zfs.h, module/zcommon/zfs_prop.c, the same from OpenZFS
// 2.1 to 2.4). It contains only properties that the driver may set.
var words = map[string][]string{
	"sync":         {"standard", "always", "disabled"},
	"readonly":     {"off", "on"},
	"atime":        {"off", "on"},
	"relatime":     {"off", "on"},
	"devices":      {"off", "on"},
	"exec":         {"off", "on"},
	"setuid":       {"off", "on"},
	"canmount":     {"off", "on", "noauto"},
	"snapdir":      {"hidden", "visible"},
	"acltype":      {"off", "posix", "nfsv4"},
	"logbias":      {"latency", "throughput"},
	"primarycache": {"none", "metadata", "all"},
	"aclmode":      {"discard", noWord, "groupmask", "passthrough", "restricted"},
	// These three are fixed at creation. Other normalizations are no small numbers.
	"casesensitivity": {"sensitive", "insensitive", "mixed"},
	"utf8only":        {"off", "on"},
	"normalization":   {"none"},
	// zfs(8) also has the word "on": dir before 2.3, sa since.
	"xattr":     {"off", "dir", "sa"},
	"dnodesize": {"legacy", "auto"},
	// Two numbers are not values of the property: inherit and empty.
	"compression": {
		noWord, "on", "off", "lzjb", noWord, "gzip-1", "gzip-2", "gzip-3", "gzip-4", "gzip-5", "gzip-6", "gzip-7", "gzip-8", "gzip-9",
		"zle", "lz4", "zstd",
	},
}

// HasWords reports whether the values of a property are words for people and numbers for the
// kernel.
func HasWords(property string) bool { return words[property] != nil }

// ParseWord returns the number of a property's word, such as 1 for sync=always. Compression
// also has gzip and zstd-1 to zstd-19.
func ParseWord(property, word string) (n uint64, ok bool) {
	if word == noWord {
		return 0, false
	}
	if i := slices.Index(words[property], word); i >= 0 {
		return uint64(i), true
	}
	if property == "compression" {
		return parseCompression(word)
	}
	return 0, false
}

// parseCompression returns the number of gzip and of a level of zstd.
func parseCompression(word string) (uint64, bool) {
	if word == "gzip" {
		return compressGzip1 + defaultGzip - 1, true
	}
	level, ok := strings.CutPrefix(word, "zstd-")
	n, err := strconv.ParseUint(level, 10, 8)
	if !ok || err != nil || strconv.FormatUint(n, 10) != level || n < 1 || n > maxZstd {
		return 0, false
	}
	return compressZstd | n<<compressLevelBits, true
}

// Word returns the word of a property's number, or "" for a number without one.
func Word(property string, n uint64) string {
	if known := words[property]; n < uint64(len(known)) && known[n] != noWord {
		return known[n]
	}
	return ""
}
