package layers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// Digest describes a layer's tar by its content, in whatever order and spelling
// it comes: what was applied and what Diff makes of it have the same.
func Digest(layer []byte) (string, error) {
	tree, err := treecmp.FromTar(bytes.NewReader(layer))
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	kept := tree.Entries[:0]
	for _, e := range tree.Entries {
		if e.Path == "." {
			continue // not every tar names its root
		}
		e.MTime = e.MTime.Truncate(time.Second)
		if e.Type == treecmp.Symlink {
			e.Mode = 0
		}
		kept = append(kept, e)
	}
	tree.Entries = kept
	if err := tree.Write(hash); err != nil {
		return "", err
	}
	deletions, err := deletions(layer)
	if err != nil {
		return "", err
	}
	_, _ = io.WriteString(hash, strings.Join(deletions, "\n"))
	return hex.EncodeToString(hash.Sum(nil))[:32], nil
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
