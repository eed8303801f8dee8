package overlayzfs

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestParseReceiving reads the property that a dataset was marked with.
func TestParseReceiving(t *testing.T) {
	marked := func(value zfs.Value, source string) zfs.Dataset {
		return zfs.Dataset{Name: "tank/a", Properties: map[string]zfs.Property{receivingProperty: {Value: value, Source: source}}}
	}
	for _, want := range []Receiving{{To: "s1"}, {From: "s1", To: "s2"}, {From: "s1", To: "s2", Refused: true}} {
		props, err := want.Properties()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseReceiving(marked(props[receivingProperty], "tank/a"))
		if err != nil || got == nil || *got != want {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
		if got, err := parseReceiving(marked(props[receivingProperty], "tank")); got != nil || err != nil {
			t.Errorf("that of another dataset: %+v, %v", got, err)
		}
	}
	if got, err := parseReceiving(zfs.Dataset{Name: "tank/a"}); got != nil || err != nil {
		t.Error(cmp.Diff(nil, got), err)
	}
	for _, damaged := range []string{"", "x", "{}", `{"to":"a@b"}`, `{"to":"a","from":"/"}`} {
		if got, err := parseReceiving(marked(zfs.String(damaged), "tank/a")); got != nil || !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %+v, %v", damaged, got, err)
		}
	}
}
