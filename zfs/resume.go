package zfs

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"io"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// ResumeToken says where a stream was cut that was received resumably.
type ResumeToken struct {
	ToGUID   uint64 // of the snapshot in the stream
	FromGUID uint64 // of the snapshot that the stream begins at; 0 in a full stream
	Object   uint64
	Offset   uint64
}

// maxToken bounds the packed list in a token, which has some ten numbers and a name.
const maxToken = 64 << 10

// ResumeToken returns the text of the property receive_resume_token, which is "" unless the
// receive of a stream was cut.
func (d Dataset) ResumeToken() string {
	p, _ := d.Property("receive_resume_token")
	if !p.IsString() {
		return ""
	}
	return p.String()
}

// ParseResumeToken reads the value of receive_resume_token: version, checksum, length, and a
// packed list, compressed and in hexadecimal (get_receive_resume_token_impl of
// module/zfs/dsl_dataset.c, OpenZFS 2.1 to 2.4). The checksum is not compared: the kernel
// checks the stream.
func ParseResumeToken(text string) (ResumeToken, error) {
	refuse := func(why string) (ResumeToken, error) {
		return ResumeToken{}, fault.New(fault.Invalid, "the token of an interrupted receive is damaged: %s", why)
	}
	parts := strings.Split(text, "-")
	if len(parts) != 4 || parts[0] != "1" {
		return refuse("it is no token of version 1")
	}
	size, err := strconv.ParseUint(parts[2], 16, 32)
	if err != nil || size > maxToken {
		return refuse("its length is wrong")
	}
	compressed, err := hex.DecodeString(parts[3])
	if err != nil {
		return refuse(err.Error())
	}
	unpacker, err := zlib.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return refuse(err.Error())
	}
	packed := make([]byte, size)
	if _, err := io.ReadFull(unpacker, packed); err != nil {
		return refuse(err.Error())
	}
	list, err := nvlist.Decode(packed)
	if err != nil {
		return refuse(err.Error())
	}
	var t ResumeToken
	var known bool
	if t.ToGUID, known = list.Uint64("toguid"); !known {
		return refuse("it names no snapshot")
	}
	t.FromGUID, _ = list.Uint64("fromguid")
	t.Object, _ = list.Uint64("object")
	t.Offset, _ = list.Uint64("offset")
	return t, nil
}
