package mount

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestOverlayMount(t *testing.T) {
	tests := []struct {
		name string
		give Overlay
		want string
	}{
		{
			name: "writable",
			give: Overlay{Lowers: []string{"l/A", "l/B"}, Upper: "x/diff", Work: "x/work"},
			want: "lowerdir=l/A:l/B,upperdir=x/diff,workdir=x/work",
		},
		{
			name: "read-only",
			give: Overlay{Lowers: []string{"x/diff", "l/A"}},
			want: "lowerdir=x/diff:l/A",
		},
		{
			name: "features off come first",
			give: Overlay{Lowers: []string{"l/A"}, Upper: "u", Work: "w", Off: []string{"index", "metacopy"}},
			want: "index=off,metacopy=off,lowerdir=l/A,upperdir=u,workdir=w",
		},
		{
			name: "on two file systems",
			give: Overlay{Lowers: []string{"l/A"}, Upper: "u", Work: "w", Apart: true},
			want: "xino=on,lowerdir=l/A,upperdir=u,workdir=w",
		},
		{
			name: "on two file systems with plain inode numbers",
			give: Overlay{Lowers: []string{"l/A"}, Upper: "u", Work: "w", Apart: true, PlainInodes: true},
			want: "xino=off,lowerdir=l/A,upperdir=u,workdir=w",
		},
		{
			name: "on one file system with plain inode numbers",
			give: Overlay{Lowers: []string{"l/A"}, Upper: "u", Work: "w", PlainInodes: true},
			want: "lowerdir=l/A,upperdir=u,workdir=w",
		},
		{
			name: "volatile",
			give: Overlay{Lowers: []string{"l/A"}, Upper: "u", Work: "w", Volatile: true},
			want: "lowerdir=l/A,upperdir=u,workdir=w,volatile",
		},
		{
			name: "SELinux label with categories",
			give: Overlay{Lowers: []string{"l/A", "l/B"}, Label: "system_u:object_r:container_file_t:s0:c1,c2"},
			want: `lowerdir=l/A:l/B,context="system_u:object_r:container_file_t:s0:c1,c2"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := tt.give.Mount()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, m.Data()); diff != "" {
				t.Errorf("data (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOverlayRefusesWhatTheKernelWouldReadDifferently(t *testing.T) {
	tests := map[string]Overlay{
		"colon in a lower":   {Lowers: []string{"a:b"}},
		"comma in the upper": {Lowers: []string{"a"}, Upper: "u,lowerdir=/", Work: "w"},
		"backslash in work":  {Lowers: []string{"a"}, Upper: "u", Work: `w\`},
		"quote in the label": {Lowers: []string{"a", "b"}, Label: `x",upperdir=/etc,x="`},
		"NUL in a lower":     {Lowers: []string{"a\x00b"}},
	}
	for name, o := range tests {
		if _, err := o.Mount(); !errors.Is(err, fault.UnsafeInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOverlayKnowsTheKernelsLimit(t *testing.T) {
	o := Overlay{Lowers: strings.Split(strings.Repeat("l/A:", MaxLowers)+"l/A", ":")}
	if _, err := o.Mount(); !errors.Is(err, fault.LimitReached) {
		t.Errorf("%d lowers: %v", len(o.Lowers), err)
	}
}

func TestDoRefusesNUL(t *testing.T) {
	if err := (Mount{Type: "overlay", Target: "a\x00b"}).Do(); !errors.Is(err, fault.UnsafeInput) {
		t.Errorf("NUL in the target: %v", err)
	}
}

func TestKnownFeatures(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := knownFeatures(dir, []string{"index", "metacopy"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"index"}, got); diff != "" {
		t.Errorf("features (-want +got):\n%s", diff)
	}
}

func TestErrorStaysShort(t *testing.T) {
	e := &Error{Mount: Mount{Options: []Option{{"lowerdir", strings.Repeat("l/A:", 2000)}}}, Call: "mount", Err: os.ErrPermission}
	if n := len(e.Error()); n > 600 {
		t.Errorf("the error has %d bytes", n)
	}
}

// TestFeaturesOfAModuleThatIsNotLoaded: a module shows its features once it is loaded, and a
// kernel whose modules cannot be seen gets all of them switched off.
func TestFeaturesOfAModuleThatIsNotLoaded(t *testing.T) {
	module := filepath.Join(t.TempDir(), "overlay")
	loads := 0
	load := func() {
		loads++
		if err := os.MkdirAll(module+"/parameters/index", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		got, err := featuresToDisable(module, load)
		if err != nil || !slices.Equal(got, []string{"index"}) || loads != 1 {
			t.Errorf("%q after %d loads, %v", got, loads, err)
		}
	}
	got, err := featuresToDisable(filepath.Join(t.TempDir(), "none"), func() {})
	if err != nil || !slices.Equal(got, unwantedFeatures) {
		t.Errorf("without sysfs: %q, %v", got, err)
	}
}
