package overlayzfs

import (
	"errors"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestParseOptions(t *testing.T) {
	o, err := ParseOptions([]string{"OverlayZFS.Dataset= tank/layers "})
	if err != nil {
		t.Fatal(err)
	}
	if o.Dataset != "tank/layers" {
		t.Errorf("dataset is %q", o.Dataset)
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	tests := []struct {
		option string
		class  fault.Class
		says   string
	}{
		{"dataset", fault.Invalid, "key=value"},
		{"overlayzfs.colour=red", fault.Invalid, `unknown storage option "overlayzfs.colour"`},
		{"overlay2.size=1G", fault.Invalid, "unknown storage option"},
		{"overlayzfs.dataset=", fault.Invalid, "is empty"},
		{"overlayzfs.dataset=tank@now", fault.Invalid, "snapshot"},
		{"overlayzfs.size=lots", fault.Invalid, "positive size"},
		{"overlayzfs.size=-1G", fault.Invalid, "positive size"},
		{"overlayzfs.size=10G", fault.Unsupported, "not supported yet"},
	}
	for _, tt := range tests {
		_, err := ParseOptions([]string{tt.option})
		if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want class %q saying %q", tt.option, err, tt.class, tt.says)
		}
	}
}

func TestCreateOptionsRefuse(t *testing.T) {
	tests := []struct {
		key, value string
		class      fault.Class
	}{
		{"size", "50M", fault.Unsupported},
		{"size", "fifty", fault.Invalid},
		{"size", "0", fault.Invalid},
		{"size", "", fault.Invalid},
		{"compression", "zstd", fault.Invalid},
	}
	for _, tt := range tests {
		err := CreateOptions{StorageOpt: map[string]string{tt.key: tt.value}}.check()
		if !errors.Is(err, tt.class) {
			t.Errorf("%s=%s: %v, want class %q", tt.key, tt.value, err, tt.class)
		}
	}
}
