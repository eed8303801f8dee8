package zfs

import (
	"errors"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestCheckSnapshotName(t *testing.T) {
	for _, name := range []string{"tank@a", "tank/x@2026-01-01T00:00:00", "a/b c@d e", strings.Repeat("a", 253) + "@s"} {
		if err := CheckSnapshotName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "tank", "@a", "tank@", "tank@a@b", "tank@a/b", "tank@a#b", "tank@a%b", "tank@\x00", "tank/@a",
		strings.Repeat("a", 254) + "@s"} {
		if err := CheckSnapshotName(name); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestHostileNamesStayShortInErrors(t *testing.T) {
	name := strings.Repeat("x\n", 100000)
	for _, err := range []error{CheckDatasetName(name), CheckSnapshotName(name), checkPool(name), checkPropertyName(name),
		invalid("op", name, "bad"), checkTag("op", "tank@a", name)} {
		if text := err.Error(); len(text) > 1500 || strings.Contains(text, "\n") {
			t.Errorf("an error of %d bytes: %.200q", len(text), text)
		}
	}
}

func TestPoolOf(t *testing.T) {
	for name, want := range map[string]string{"tank": "tank", "tank/a/b": "tank", "tank@s": "tank", "tank/a@s": "tank"} {
		if got := PoolOf(name); got != want {
			t.Errorf("PoolOf(%q) is %q", name, got)
		}
	}
}

func TestPropertiesAreCheckedBeforeTheyArePacked(t *testing.T) {
	bad := []Properties{
		{"": Uint(1)},
		{"Quota": Uint(1)},
		{"a b": Uint(1)},
		{"a\x00": Uint(1)},
		{strings.Repeat("a", 256): Uint(1)},
		{"a:b": Uint(1)},
		{"a:b": String("x\x00")},
		{"a:b": String(strings.Repeat("x", maxString))},
		{"sync": String("sometimes")},
		{"recordsize": Uint(12345)},
		{"recordsize": Uint(0)},
		{"recordsize": String("128K")},
		{"mountpoint": String("here")},
		{"mountpoint": Uint(0)},
	}
	for _, props := range bad {
		if _, err := props.pack("set", "tank"); !errors.Is(err, ErrInvalid) || !errors.Is(err, fault.Invalid) {
			t.Errorf("%.80v: %v", props, err)
		}
	}
	list, err := Properties{"sync": String("disabled"), "a:b": String("c"), "quota": Uint(5)}.pack("set", "tank")
	if err != nil || len(list) != 3 || list[0].Name != "a:b" || list[0].Value != "c" || list[1].Value != uint64(5) || list[2].Value != uint64(2) {
		t.Errorf("%v, %v", list, err)
	}
}
