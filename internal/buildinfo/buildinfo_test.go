package buildinfo

import "testing"

// TestText: what the linker set is said, and of a commit as much as people read.
func TestText(t *testing.T) {
	defer func(v, c string) { version, commit = v, c }(version, commit)
	for _, tt := range []struct{ version, commit, want string }{
		{"v1.2.3", "0123456789abcdef0123456789abcdef01234567", "v1.2.3 (commit 0123456789ab)"},
		{"v1.2.3", "short", "v1.2.3 (commit short)"},
	} {
		version, commit = tt.version, tt.commit
		if got := Text(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	version, commit = "", ""
	if Version() == "" || Commit() == "" {
		t.Errorf("of a build that nobody described: %q, %q", Version(), Commit())
	}
}
