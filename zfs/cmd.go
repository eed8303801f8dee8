package zfs

import (
	"bytes"
	"encoding/binary"
)

var le = binary.LittleEndian

// command is a struct zfs_cmd. Its methods are the only ones that touch its
// bytes; abi.go has the offsets.
type command []byte

func newCommand() command { return make(command, cmdSize) }

func (c command) setName(name string)         { setString(c[offName:offName+sizeName], name) }
func (c command) name() string                { return cString(c[offName : offName+sizeName]) }
func (c command) setValue(value string)       { setString(c[offValue:offValue+sizeValue], value) }
func (c command) uint64(off int) uint64       { return le.Uint64(c[off:]) }
func (c command) setUint64(off int, n uint64) { le.PutUint64(c[off:], n) }
func (c command) setUint32(off int, n uint32) { le.PutUint32(c[off:], n) }
func (c command) setSimple()                  { c[offSimple] = 1 }

// stats is the part that describes a dataset.
func (c command) stats() stats { return stats(c[offStats : offStats+sizeStats]) }

// stats is a dmu_objset_stats_t.
type stats []byte

func (s stats) clones() uint64   { return le.Uint64(s[offStatsClones:]) }
func (s stats) txg() uint64      { return le.Uint64(s[offStatsTXG:]) }
func (s stats) guid() uint64     { return le.Uint64(s[offStatsGUID:]) }
func (s stats) kind() uint32     { return le.Uint32(s[offStatsType:]) }
func (s stats) isSnapshot() bool { return s[offStatsIsSnapshot] != 0 }
func (s stats) origin() string {
	return cString(s[offStatsOrigin : offStatsOrigin+sizeStatsOrigin])
}

// setString writes s and its NUL, and clears the rest. A string that is too long is cut;
// names are checked before.
func setString(field []byte, s string) {
	n := copy(field[:len(field)-1], s)
	clear(field[n:])
}

func cString(field []byte) string {
	if end := bytes.IndexByte(field, 0); end >= 0 {
		field = field[:end]
	}
	return string(field)
}
