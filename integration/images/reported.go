package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// Reported is a kind of image that users of several engines have reported.
type Reported struct {
	Name   string
	Layers [][]Entry // above busybox
	Whole  []byte    // or one layer that is unusual as a whole
	Script string    // for busybox's shell, in the image's root
	Want   string    // what the script prints
	// Containerd is what it prints where containerd unpacks, if that is something else, or
	// Refused. Decision 9 has the reasons.
	Containerd string
}

// Refused says that an image cannot be loaded, or unpacked for a container: Docker 28 loads
// one whose layers containerd refuses.
const Refused = "refused"

// reportedKinds returns the kinds.
func reportedKinds(t testing.TB) []Reported {
	t.Helper()
	return slices.Concat(impliedKinds(), deletionKinds(), linkKinds(), attributeKinds(), streamKinds(t))
}

// RequireReported loads images of all kinds, and compares what each script prints with want.
// The engine's records must give each layer's tar again. Kinds that need no image of their
// own are directories of one image: the guest's time goes into containers.
func RequireReported(t *testing.T, e *engine.Engine, dir string, want func(Reported) string) {
	t.Helper()
	var together []Reported
	for n, r := range reportedKinds(t) {
		if r.Whole == nil && want(r) != Refused {
			together = append(together, r)
			continue
		}
		layers := [][]byte{BusyboxLayer(t)}
		for _, entries := range r.Layers {
			layers = append(layers, MakeLayer(t, entries...))
		}
		if r.Whole != nil {
			layers = append(layers, r.Whole)
		}
		out, err := runReported(t, e, dir, fmt.Sprintf("reported:%d", n), r.Script, layers, want(r) == Refused)
		requirePrinted(t, r.Name, out, err, want(r))
	}
	out, err := runReported(t, e, dir, "reported:together", togetherScript(together), togetherLayers(t, together), false)
	parts := strings.Split(out, endOfKind)
	if err != nil || len(parts) != len(together)+1 {
		t.Fatalf("the image of %d kinds prints %q, %v", len(together), out, err)
	}
	for n, r := range together {
		requirePrinted(t, r.Name, parts[n], nil, want(r))
	}
}

func requirePrinted(t *testing.T, name, out string, err error, want string) {
	t.Helper()
	got := strings.Join(strings.Fields(out), " ")
	switch {
	case want == Refused && err == nil:
		t.Errorf("%s: prints %q, and is to be refused", name, got)
	case want != Refused && (err != nil || got != want):
		t.Errorf("%s: prints %q, want %q (%v)", name, got, want, err)
	}
}

// runReported loads an image, runs a script in it, and saves it unless it is to be refused.
func runReported(t *testing.T, e *engine.Engine, dir, name, script string, layers [][]byte, refused bool) (out string, err error) {
	t.Helper()
	archive := WriteArchive(t, name, nil, layers...)
	defer func() { inguest.Must(t, os.Remove(archive)) }()
	if _, err := e.Try("load", "-q", "-i", archive); err != nil {
		return "", err
	}
	if out, err = e.Try("run", "--rm", "--network", "none", name, "/bin/busybox", "sh", "-c", script); err != nil || refused {
		return out, err
	}
	saved, path, err := Save(e, dir, name)
	if err != nil {
		return out, err
	}
	inguest.Must(t, saved.Close())
	return out, os.Remove(path)
}

const endOfKind = "end of the kind"

func togetherScript(kinds []Reported) string {
	var script strings.Builder
	for n, r := range kinds {
		fmt.Fprintf(&script, "cd /kind%d; { %s; } 2>&1; busybox echo; busybox echo %q\n", n, r.Script, endOfKind)
	}
	return script.String()
}

// togetherLayers returns the layers of an image that has each kind in a directory.
func togetherLayers(t testing.TB, kinds []Reported) [][]byte {
	t.Helper()
	var all [][]Entry
	for n, r := range kinds {
		root := fmt.Sprintf("kind%d/", n)
		for i, entries := range r.Layers {
			if i == len(all) {
				all = append(all, nil)
			}
			if i == 0 {
				all[0] = append(all[0], typedEntry(tar.TypeDir, root, 0o755, 0))
			}
			for _, e := range entries {
				e.Header.Name = root + e.Header.Name
				if e.Header.Typeflag == tar.TypeLink {
					e.Header.Linkname = root + e.Header.Linkname
				}
				all[i] = append(all[i], e)
			}
		}
	}
	layers := [][]byte{BusyboxLayer(t)}
	for _, entries := range all {
		layers = append(layers, MakeLayer(t, entries...))
	}
	return layers
}

// reportedTime is the time of all entries.
var reportedTime = time.Unix(1_500_000_000, 0)

func typedEntry(typ byte, name string, mode int64, owner int) Entry {
	return Entry{Header: tar.Header{Typeflag: typ, Name: name, Mode: mode, Uid: owner, Gid: owner, ModTime: reportedTime}}
}

func pointingEntry(typ byte, name, target string) Entry {
	e := typedEntry(typ, name, 0o777, 0)
	e.Header.Linkname = target
	return e
}

func attributedEntry(e Entry, name, value string) Entry {
	e.Header.Format, e.Header.PAXRecords = tar.FormatPAX, map[string]string{"SCHILY.xattr." + name: value}
	return e
}

func deviceEntry(typ byte, name string, major, minor int64) Entry {
	e := typedEntry(typ, name, 0o640, 0)
	e.Header.Devmajor, e.Header.Devminor = major, minor
	return e
}

// streamKinds are layers that are unusual as a whole.
func streamKinds(t testing.TB) []Reported {
	t.Helper()
	f := MakeLayer(t, textEntry("f", "body"))
	const show = "busybox cat /f"
	return []Reported{
		{Name: "no end marker", Whole: f[:len(f)-1024], Script: show, Want: "body"},
		{Name: "something after the end", Whole: append(bytes.Clone(f), bytes.Repeat([]byte("garbage"), 1000)...), Script: show, Want: "body"},
		{
			Name:   "a global header, and the root with a mode",
			Whole:  MakeLayer(t, globalHeader, typedEntry(tar.TypeDir, "./", 0o700, 1000), textEntry("f", "body")),
			Script: "busybox stat -c %a /; " + show, Want: "755 body",
		},
	}
}

// globalHeader is what `git archive` writes at the start of a tar.
var globalHeader = Entry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x"}}}
