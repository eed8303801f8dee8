package layertar

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// archive/tar refuses to write what a hostile tar holds: the headers here are
// made by hand. (ustar: name 0:100, mode 100, uid 108, gid 116, size 124:136,
// mtime 136, checksum 148:156, type 156, linkname 157:257, magic 257:265,
// devmajor 329, devminor 337.)

// rawHeader is one block.
func rawHeader(typ byte, name, linkname string, size int64) []byte {
	b := make([]byte, 512)
	copy(b[0:100], name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", size))
	copy(b[136:], "00000000000\x00")
	b[156] = typ
	copy(b[157:257], linkname)
	copy(b[257:], "ustar\x0000")
	copy(b[329:], "0000000\x00")
	copy(b[337:], "0000000\x00")
	return sum(b)
}

// sum fills in a header's checksum.
func sum(b []byte) []byte {
	copy(b[148:156], "        ")
	total := 0
	for _, c := range b {
		total += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", total))
	return b
}

// padded is s in whole blocks.
func padded(s string) []byte {
	return append([]byte(s), make([]byte, (512-len(s)%512)%512)...)
}

func paxRecord(key, value string) string {
	size := len(key) + len(value) + 3
	for size != len(fmt.Sprint(size))+len(key)+len(value)+3 {
		size = len(fmt.Sprint(size)) + len(key) + len(value) + 3
	}
	return fmt.Sprintf("%d %s=%s\n", size, key, value)
}

// rawPAX is a tar of one entry with exactly these PAX records.
func rawPAX(e entry, records map[string]string) []byte {
	var s strings.Builder
	for _, key := range slices.Sorted(maps.Keys(records)) {
		s.WriteString(paxRecord(key, records[key]))
	}
	return rawRecords(e, s.String())
}

// rawRecords is a tar of one entry with records that may repeat a key.
func rawRecords(e entry, records string) []byte {
	out := rawHeader('x', "PaxHeaders.0/x", "", int64(len(records)))
	out = append(out, padded(records)...)
	main := rawHeader(e.Typeflag, e.Name, e.Linkname, int64(len(e.body)))
	copy(main[108:], fmt.Sprintf("%07o\x00", e.Uid))
	copy(main[116:], fmt.Sprintf("%07o\x00", e.Gid))
	out = append(out, sum(main)...)
	out = append(out, padded(e.body)...)
	return append(out, make([]byte, 1024)...)
}

// repairSums makes the checksum of each header right.
func repairSums(data []byte) []byte {
	data = bytes.Clone(data)
	empty := make([]byte, 512)
	for at := 0; at+512 <= len(data); at += 512 {
		b := data[at : at+512]
		if bytes.Equal(b, empty) {
			continue // the end of the tar
		}
		sum(b)
		size, err := strconv.ParseInt(strings.Trim(string(b[124:136]), " \x00"), 8, 64)
		if err == nil && size > 0 && size < int64(len(data)) {
			at += int(size+511) &^ 511
		}
	}
	return data
}
