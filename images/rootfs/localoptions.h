/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dropbear, on top of its default_options.h: one key exchange, one host key, one cipher. Nothing is negotiated with
 * anybody but the lab, and every page of an emulated machine that is not touched is time saved.
 */

/* Authentication: root, by key. Without password support there is no crypt() either. */
#define DROPBEAR_SVR_PASSWORD_AUTH 0
#define DROPBEAR_SVR_PUBKEY_AUTH 1

/*
 * Measured under TCG on x86_64 (CPU time of QEMU, key exchange + authentication): curve25519 with Ed25519 keys 110 + 35
 * ms; nistp256 for either, or RSA, no less. paramiko has no chacha20-poly1305; HMAC-SHA1 is no faster than SHA-256.
 */
#define DROPBEAR_CURVE25519 1
#define DROPBEAR_ED25519 1
#define DROPBEAR_AES128 1
#define DROPBEAR_SHA2_256_HMAC 1
#define DROPBEAR_ECDH 0
#define DROPBEAR_ECDSA 0
#define DROPBEAR_SK_KEYS 0
#define DROPBEAR_DH_GROUP14_SHA1 0
#define DROPBEAR_DH_GROUP14_SHA256 0
#define DROPBEAR_AES256 0
#define DROPBEAR_CHACHA20POLY1305 0
#define DROPBEAR_SHA1_HMAC 0
/* Without RSA 2022.83 does not compile (signkey_type_from_signature); init makes no such host key. */
#define DROPBEAR_RSA 1
#define DROPBEAR_RSA_SHA1 0

/* Speed before size: the tables of AES and unrolled SHA. */
#define DROPBEAR_SMALL_CODE 0
/* A connection costs a fork, not a fork and an exec of a statically linked megabyte. */
#define DROPBEAR_REEXEC 0
/* Programs of a megabyte are pushed through this window; 24 KiB would cost a round trip per handful of packets. */
#define DEFAULT_RECV_WINDOW 524288

#define INETD_MODE 0
#define DROPBEAR_DELAY_HOSTKEY 0
#define DROPBEAR_X11FWD 0
#define DROPBEAR_SVR_LOCALTCPFWD 0
#define DROPBEAR_SVR_REMOTETCPFWD 0
#define DROPBEAR_SVR_AGENTFWD 0
#define DROPBEAR_SFTPSERVER 0
#define DO_MOTD 0
#define MAX_UNAUTH_PER_IP 30
#define DEFAULT_PATH "/bin:/sbin"
#define DEFAULT_ROOT_PATH "/bin:/sbin"
