package treecmp

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var someTime = time.Unix(1_600_000_000, 0).UTC()

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// file, dir and link make headers. A file's header has its content as Linkname.
func file(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Linkname: content}
}

func dir(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
}

func layer(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname, h.Size = h.Linkname, "", int64(len(h.Linkname))
		}
		if h.ModTime.IsZero() {
			h.ModTime = someTime
		}
		noError(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		noError(t, err)
	}
	noError(t, w.Close())
	return b.Bytes()
}

func stacked(t testing.TB, layers ...[]byte) *Tree {
	t.Helper()
	var readers []io.Reader
	for _, l := range layers {
		readers = append(readers, bytes.NewReader(l))
	}
	tree, err := FromLayers(readers...)
	noError(t, err)
	return tree
}

func sha(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// brief returns short lines that describe a tree.
func brief(t *Tree) []string {
	var lines []string
	for _, e := range t.Entries {
		line := e.Path + " " + e.Type
		if len(e.Names) > 0 {
			line += " =" + strings.Join(e.Names, "=")
		}
		lines = append(lines, line)
	}
	return lines
}

func TestLayersStack(t *testing.T) {
	base := []tar.Header{
		dir("d/"), file("d/a", "a"), dir("d/sub/"), file("d/sub/b", "b"), file("f", "f"),
		file("h1", "h"), link("h2", "h1"), file("d.x", "beside"),
	}
	all := []string{"d dir", "d.x file", "d/a file", "d/sub dir", "d/sub/b file", "f file", "h1 file =h1=h2", "h2 file =h1=h2"}
	without := func(paths ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(line string) bool { return slices.Contains(paths, strings.Fields(line)[0]) })
	}
	for name, c := range map[string]struct {
		layer []tar.Header
		want  []string
	}{
		"nothing":  {nil, all},
		"whiteout": {[]tar.Header{file(".wh.f", "")}, without("f")},
		"whiteout of a directory": {
			[]tar.Header{dir("d/"), file(".wh.d", "")},
			append([]string{"d dir"}, without("d", "d/a", "d/sub", "d/sub/b")...),
		},
		"opaque, named last": {
			[]tar.Header{dir("d/"), file("d/new", "n"), file("d/.wh..wh..opq", "")},
			append([]string{"d dir", "d.x file", "d/new file"}, without("d", "d/a", "d/sub", "d/sub/b", "d.x")...),
		},
		"a directory that was there": {[]tar.Header{dir("d/")}, all},
		"directory to file": {
			[]tar.Header{file("d", "")},
			append([]string{"d file"}, without("d", "d/a", "d/sub", "d/sub/b")...),
		},
		"file to directory": {
			[]tar.Header{dir("f/"), file("f/in", "")},
			slices.Sorted(slices.Values(append(without("f"), "f dir", "f/in file"))),
		},
		"one of two links replaced": {
			[]tar.Header{file("h2", "other")},
			append(without("h1", "h2"), "h1 file", "h2 file"),
		},
		"one of two links removed": {[]tar.Header{file(".wh.h1", "")}, append(without("h1", "h2"), "h2 file")},
		"a link to a lower file":   {[]tar.Header{file("h1", "h"), link("h3", "h1")}, append(without("h1", "h2"), "h1 file =h1=h3", "h2 file", "h3 file =h1=h3")},
		"absolute names":           {[]tar.Header{file("/./.wh.f", "")}, without("f")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := brief(stacked(t, layer(t, base...), layer(t, c.layer...))); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestBadTarsAreErrors(t *testing.T) {
	whole := layer(t, file("a", strings.Repeat("x", 5000)))
	for name, raw := range map[string][]byte{
		"link to nothing": layer(t, link("a", "b")),
		"cut content":     whole[:2000],
		"cut header":      whole[:200],
		"unknown type":    layer(t, tar.Header{Name: "x", Typeflag: 'Z'}),
	} {
		if _, err := FromTar(bytes.NewReader(raw)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCompareFindsEveryDifference(t *testing.T) {
	make := func(change func(*tar.Header)) *Tree {
		headers := []tar.Header{
			file("file", "content"), link("hard", "file"), dir("dir/"),
			{Name: "symlink", Typeflag: tar.TypeSymlink, Linkname: "file", Mode: 0o777},
			{Name: "char", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666},
			{Name: "xattr", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "1"}},
		}
		for i := range headers {
			change(&headers[i])
		}
		return stacked(t, layer(t, headers...))
	}
	same := make(func(*tar.Header) {})
	for name, c := range map[string]struct {
		change  func(h *tar.Header)
		at      string
		want    []string
		options Options
	}{
		"nothing":                     {func(h *tar.Header) {}, "", nil, Options{MTimes: true, Links: true}},
		"mode":                        {func(h *tar.Header) { h.Mode |= 0o4000 }, "file", []string{"file: mode: 0644 | 4644", "hard: mode: 0644 | 4644"}, Options{}},
		"mode of a symlink":           {func(h *tar.Header) { h.Mode = 0o700 }, "symlink", nil, Options{}},
		"owner":                       {func(h *tar.Header) { h.Gid = 7 }, "dir/", []string{"dir: owner: 0:0 | 0:7"}, Options{}},
		"content":                     {func(h *tar.Header) { h.Linkname = "C0ntent" }, "file", []string{"file: content: " + sha("content") + " | " + sha("C0ntent"), "hard: content: " + sha("content") + " | " + sha("C0ntent")}, Options{}},
		"target":                      {func(h *tar.Header) { h.Linkname = "dir" }, "symlink", []string{"symlink: target: file | dir"}, Options{}},
		"device":                      {func(h *tar.Header) { h.Devminor = 5 }, "char", []string{"char: device: 1:3 | 1:5"}, Options{}},
		"type":                        {func(h *tar.Header) { h.Typeflag = tar.TypeBlock }, "char", []string{"char: type: char | block"}, Options{}},
		"name":                        {func(h *tar.Header) { h.Name = "rid" }, "dir/", []string{"dir: only in the first: dir, mode 0755, 0:0", "rid: only in the second: file, mode 0755, 0:0"}, Options{}},
		"xattr":                       {func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.b": "1"} }, "xattr", []string{"xattr: user.a: 0x31 | absent", "xattr: user.b: absent | 0x31"}, Options{}},
		"xattr that is not looked at": {func(h *tar.Header) { h.PAXRecords = nil }, "xattr", nil, Options{Xattrs: func(string) bool { return false }}},
		"hidden xattr":                {func(h *tar.Header) { h.PAXRecords["SCHILY.xattr.trusted.overlay.opaque"] = "y" }, "xattr", nil, Options{}},
		"broken link":                 {func(h *tar.Header) { *h = file("hard", "content") }, "hard", []string{"file: hard links: file = hard | ", "file: number of links: 2 | 1", "hard: hard links: file = hard | ", "hard: number of links: 2 | 1"}, Options{Links: true}},
		"loose link":                  {func(h *tar.Header) { *h = file("hard", "content") }, "hard", nil, Options{LooseLinks: []string{"hard", "file"}}},
		"ignored":                     {func(h *tar.Header) { h.Mode = 0 }, "dir/", nil, Options{Ignore: []string{"dir"}}},
		"time":                        {func(h *tar.Header) { h.ModTime = someTime.Add(time.Second) }, "dir/", []string{"dir: mtime: 2020-09-13 12:26:40 +0000 UTC | 2020-09-13 12:26:41 +0000 UTC"}, Options{MTimes: true}},
		"loose time":                  {func(h *tar.Header) { h.ModTime = someTime.Add(time.Hour) }, "dir/", nil, Options{MTimes: true, LooseTimes: []string{"dir"}}},
		"loose times of directories":  {func(h *tar.Header) { h.ModTime = someTime.Add(time.Hour) }, "dir/", nil, Options{MTimes: true, LooseDirTimes: true}},
		"time that is not looked at":  {func(h *tar.Header) { h.ModTime = someTime.Add(time.Hour) }, "dir/", nil, Options{MTimesBefore: someTime}},
		"time of what is old in one":  {func(h *tar.Header) { h.ModTime = someTime.Add(-time.Second) }, "dir/", []string{"dir: mtime: 2020-09-13 12:26:40 +0000 UTC | 2020-09-13 12:26:39 +0000 UTC"}, Options{MTimesBefore: someTime}},
	} {
		t.Run(name, func(t *testing.T) {
			changed := make(func(h *tar.Header) {
				if h.Name == c.at {
					c.change(h)
					if h.Name == "rid" {
						h.Typeflag, h.Linkname = tar.TypeReg, ""
					}
				}
			})
			if got := Compare(same, changed, c.options); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// TestADirectoryAndItsTarHaveOneDescription compares a directory with a tar of the same
// content.
func TestADirectoryAndItsTarHaveOneDescription(t *testing.T) {
	root := t.TempDir()
	uid, gid := os.Getuid(), os.Getgid()
	odd := "odd \xff\\name\n" + strings.Repeat("x", 200)
	headers := []tar.Header{
		dir("."), dir("d/"), file("d/"+odd, "content"), link("hard", "d/"+odd), file("mode", ""),
		{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o600},
		{Name: "symlink", Typeflag: tar.TypeSymlink, Linkname: "\xfe", Mode: 0o777},
	}
	noError(t, os.Mkdir(filepath.Join(root, "d"), 0o755))
	noError(t, os.WriteFile(filepath.Join(root, "d", odd), []byte("content"), 0o644))
	noError(t, os.Link(filepath.Join(root, "d", odd), filepath.Join(root, "hard")))
	noError(t, os.WriteFile(filepath.Join(root, "mode"), nil, 0o644))
	noError(t, os.Symlink("\xfe", filepath.Join(root, "symlink")))
	noError(t, unix.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	noError(t, os.Chmod(filepath.Join(root, "mode"), 0o751|os.ModeSetuid|os.ModeSticky))
	noError(t, os.WriteFile(filepath.Join(root, "skipped"), nil, 0o644))
	for i := range headers {
		headers[i].Uid, headers[i].Gid = uid, gid
		if headers[i].Name == "mode" {
			headers[i].Mode = 0o5751
		}
		path := filepath.Join(root, headers[i].Name)
		noError(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: someTime.Unix()}, {Sec: someTime.Unix()}}, unix.AT_SYMLINK_NOFOLLOW))
	}
	noError(t, os.Chtimes(filepath.Join(root, "d"), someTime, someTime))
	noError(t, os.Chtimes(root, someTime, someTime))
	noError(t, os.Chmod(root, 0o755))

	got, err := FromDir(root, "skipped")
	noError(t, err)
	want := stacked(t, layer(t, headers...))
	if differences := Compare(got, want, Options{MTimes: true, Links: true}); len(differences) > 0 {
		t.Error(strings.Join(differences, "\n"))
	}
	if _, ok := got.Find(`d/odd \xff\x5cname\x0a` + strings.Repeat("x", 200)); !ok {
		t.Errorf("the odd name is missing in %q", brief(got))
	}

	// Writing and reading preserves the description.
	var b, again bytes.Buffer
	noError(t, got.Write(&b))
	first := b.String()
	back, err := Read(&b)
	noError(t, err)
	if !reflect.DeepEqual(back, got) {
		t.Errorf("read back: %v\nwritten: %v", brief(back), brief(got))
	}
	noError(t, back.Write(&again))
	if again.String() != first {
		t.Error("the description is not deterministic")
	}
}

func TestXattrsAreDescribed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	noError(t, os.WriteFile(path, nil, 0o600))
	value := strings.Repeat("v", 2000)
	if err := unix.Setxattr(path, "user.name", []byte(value), 0); err != nil {
		t.Fatalf("user attributes are needed for this test: %v", err)
	}
	tree, err := FromDir(filepath.Dir(path))
	noError(t, err)
	e, _ := tree.Find("file")
	if want := map[string]string{"user.name": hex.EncodeToString([]byte(value))}; !reflect.DeepEqual(e.Xattrs, want) {
		t.Errorf("%v", e.Xattrs)
	}
}

// saved writes an archive as `docker save` does.
func saved(t testing.TB, diffIDs []string, layers ...[]byte) string {
	t.Helper()
	var names []string
	members := make([]tar.Header, 0, len(layers)+2)
	for i, l := range layers {
		names = append(names, fmt.Sprintf("%q", fmt.Sprintf("layer-%d", i)))
		members = append(members, file(fmt.Sprintf("layer-%d", i), string(l)))
	}
	quoted := make([]string, len(diffIDs))
	for i, id := range diffIDs {
		quoted[i] = fmt.Sprintf("%q", id)
	}
	config := `{"rootfs":{"diff_ids":[` + strings.Join(quoted, ",") + `]}}`
	members = append(members, file("blobs/sha256/c0", config),
		file("manifest.json", `[{"Config":"blobs/sha256/c0","Layers":[`+strings.Join(names, ",")+`]}]`))
	path := filepath.Join(t.TempDir(), "image.tar")
	noError(t, os.WriteFile(path, layer(t, members...), 0o600))
	return path
}

func TestAnImageIsVerifiedAndDescribed(t *testing.T) {
	base, top := layer(t, file("a", "1"), file("b", "2")), layer(t, file(".wh.a", ""))
	right := []string{"sha256:" + sha(string(base)), "sha256:" + sha(string(top))}
	image, err := OpenImage(saved(t, right, base, top))
	noError(t, err)
	defer image.Close()
	noError(t, image.Verify())
	tree, err := image.Tree()
	noError(t, err)
	if got := brief(tree); !slices.Equal(got, []string{"b file"}) || image.ID != "sha256:c0" {
		t.Errorf("%s %q", image.ID, got)
	}
	var sizes []int
	noError(t, Stack(image.Layers(), func(n int, t *Tree) error {
		sizes = append(sizes, len(t.Entries))
		return nil
	}))
	if !slices.Equal(sizes, []int{2, 1}) {
		t.Errorf("the layers give %d entries", sizes)
	}

	packed, err := OpenImage(saved(t, right, base, compressed(t, top)))
	noError(t, err)
	defer packed.Close()
	noError(t, packed.Verify())

	wrong, err := OpenImage(saved(t, right, base, layer(t, file(".wh.b", ""))))
	noError(t, err)
	defer wrong.Close()
	if err := wrong.Verify(); err == nil {
		t.Error("a layer with another digest than the configuration names passes")
	}
	if i, err := OpenImage(saved(t, right, base)); err == nil {
		i.Close()
		t.Error("an archive that lacks a layer passes")
	}
}

// compressed compresses a layer, as engines with containerd's image store do.
func compressed(t testing.TB, layer []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(layer)
	noError(t, err)
	noError(t, w.Close())
	return b.Bytes()
}
