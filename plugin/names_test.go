package plugin

import (
	"strings"
	"testing"
)

func TestNamesOfLayers(t *testing.T) {
	docker, buildkit := strings.Repeat("0a", 32), "k2v9x0q8c7b6n5m4l3k2j1h0g"
	tests := []struct {
		id                    string
		init, recorded, stray bool // stray without and with its container: never with
	}{
		{docker, false, false, false},
		{docker + "-init", true, true, true},
		{buildkit, false, true, false},
		{"test-init", true, true, false},
	}
	for _, tt := range tests {
		if got := isInit(tt.id); got != tt.init {
			t.Errorf("isInit(%s) is %t", tt.id, got)
		}
		if got := isRecordedEmpty(tt.id); got != tt.recorded {
			t.Errorf("isRecordedEmpty(%s) is %t", tt.id, got)
		}
		if got := isRecordedByCreate(tt.id, false); got != (tt.recorded && !tt.init) {
			t.Errorf("isRecordedByCreate(%s, false) is %t", tt.id, got)
		}
		if got := isRecordedByCreate(tt.id, true); got == tt.init {
			t.Errorf("isRecordedByCreate(%s, true) is %t", tt.id, got)
		}
		if got := isStrayInit(tt.id, func(string) bool { return false }); got != tt.stray {
			t.Errorf("isStrayInit(%s) without its container is %t", tt.id, got)
		}
		if isStrayInit(tt.id, func(string) bool { return true }) {
			t.Errorf("isStrayInit(%s) with its container", tt.id)
		}
		if got := isContainers(tt.id, func(string) bool { return false }); got != tt.init {
			t.Errorf("isContainers(%s) alone is %t", tt.id, got)
		}
		if !isContainers(tt.id, func(id string) bool { return id == tt.id+"-init" }) {
			t.Errorf("isContainers(%s) with an init layer is false", tt.id)
		}
	}
}
