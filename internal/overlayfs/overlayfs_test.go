package overlayfs

import "testing"

func TestMarks(t *testing.T) {
	const chr, blk, reg = 0o020000, 0o060000, 0o100000
	tests := []struct {
		mode uint32
		rdev uint64
		want bool
	}{
		{chr, 0, true}, {chr | 0o644, 0, true}, {chr, 1, false}, {blk, 0, false}, {reg, 0, false},
	}
	for _, tt := range tests {
		if got := IsWhiteout(tt.mode, tt.rdev); got != tt.want {
			t.Errorf("IsWhiteout(%o, %d) = %v", tt.mode, tt.rdev, got)
		}
	}
	for value, want := range map[string]bool{"y": true, "": false, "x": false, "Y": false, "yes": false, "y\x00": false} {
		if got := IsOpaque([]byte(value)); got != want {
			t.Errorf("IsOpaque(%q) = %v", value, got)
		}
	}
}
