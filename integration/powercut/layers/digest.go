package layers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// Digest describes a layer's tar by its content, in whatever order and spelling
// it comes: what was applied and what Diff makes of it have the same. It has two
// parts with a dot between, the second of which is the times'.
func Digest(layer []byte) (string, error) {
	tree, err := treecmp.FromTar(bytes.NewReader(layer))
	if err != nil {
		return "", err
	}
	deletions, err := deletions(layer)
	if err != nil {
		return "", err
	}
	content, times := sha256.New(), sha256.New()
	kept := tree.Entries[:0]
	for _, e := range tree.Entries {
		if e.Path == "." {
			continue // not every tar names its root
		}
		fmt.Fprintln(times, e.Path, e.MTime.Unix())
		e.MTime = time.Time{}
		if e.Type == treecmp.Symlink {
			e.Mode = 0
		}
		kept = append(kept, e)
	}
	tree.Entries = kept
	if err := tree.Write(content); err != nil {
		return "", err
	}
	_, _ = io.WriteString(content, strings.Join(deletions, "\n"))
	return half(content) + "." + half(times), nil
}

func half(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil))[:16] }

// OnlyTimes tells whether two different digests differ in times alone.
func OnlyTimes(a, b string) bool {
	first, _, _ := strings.Cut(a, ".")
	second, _, _ := strings.Cut(b, ".")
	return first == second
}

// Empty tells whether a layer's tar holds nothing, but for its root.
func Empty(layer []byte) bool {
	tree, err := treecmp.FromTar(bytes.NewReader(layer))
	if err != nil {
		return false
	}
	gone, err := deletions(layer)
	return err == nil && len(gone) == 0 && !slices.ContainsFunc(tree.Entries, func(e *treecmp.Entry) bool { return e.Path != "." })
}

// deletions are the tar's whiteouts and opaque marks.
func deletions(layer []byte) ([]string, error) {
	var names []string
	in := tar.NewReader(bytes.NewReader(layer))
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		if name := path.Clean(header.Name); strings.HasPrefix(path.Base(name), whiteoutPrefix) {
			names = append(names, name)
		}
	}
}
