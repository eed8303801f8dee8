package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sumsName names the file of checksums, in the format of sha256sum -c.
const sumsName = "SHA256SUMS"

// writeSums writes the checksums of all files in the output, and returns them.
func (r *release) writeSums() (string, error) {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(data), e.Name())
	}
	return text.String(), r.writeFile(sumsName, []byte(text.String()))
}
