package versions

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Version is the first three numbers of a version.
type Version [3]int

// Parse reads texts such as "2.3.9-0+deb13u1", "6.12.107+deb13-cloud-amd64" and "6.8". It
// reads at least two numbers; a missing third one is 0.
func Parse(text string) (v Version, ok bool) {
	for i := range v {
		n, rest, ok := cutNumber(text)
		if !ok {
			return v, i >= 2
		}
		v[i] = n
		if rest == "" || rest[0] != '.' {
			return v, i >= 1
		}
		text = rest[1:]
	}
	return v, true
}

// cutNumber returns the number at the start of text and the rest.
func cutNumber(text string) (n int, rest string, ok bool) {
	rest = strings.TrimLeft(text, "0123456789")
	n, err := strconv.Atoi(text[:len(text)-len(rest)])
	return n, rest, err == nil
}

// IsBefore reports whether v is older than o.
func (v Version) IsBefore(o Version) bool {
	return cmp.Or(cmp.Compare(v[0], o[0]), cmp.Compare(v[1], o[1]), cmp.Compare(v[2], o[2])) < 0
}

// KernelRelease returns the release of the running kernel, as uname(2) reports it.
func KernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}
