"""Keys that nobody signed, and bundles on their way (published failures, 4)."""

import base64
import functools

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flower_arithmetic import new_keys, sealing_key, unmasked, update_of
from flower_attack import KeyPair, Outcome, attack, raised
from flower_round import Bundle, Federation, opened_by_all
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt
from flwr.common.secure_aggregation.secaggplus_utils import (
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)
from flwr.supercore.primitives.asymmetric import (
    generate_key_pairs,
    public_key_to_bytes,
)


@attack("public keys replaced by the coordinator")
def substituted_keys() -> Outcome:
    """The man in the middle between one site and all others, who finish their round without an error."""
    federation, victim = Federation(5, threshold=4), 5
    keys = federation.setup()
    peers = [node for node in federation.nodes if node != victim]
    fake = {node: new_keys() for node in federation.nodes}
    shown = {victim: {node: fake[node][1] for node in peers} | {victim: keys[victim]}}
    shown |= {node: keys | {victim: fake[victim][1]} for node in peers}
    bundles = [bundle for node in federation.nodes for bundle in federation.share(node, shown[node])]
    passed, read = [], []
    for bundle in bundles:
        if victim not in (bundle.source, bundle.to):
            passed.append(bundle)
            continue
        source, to = (
            sealing_key(fake[a][0][1], keys[b][1]) for a, b in ((bundle.to, bundle.source), (bundle.source, bundle.to))
        )
        plain = decrypt(source, bundle.ciphertext)
        if bundle.source == victim:
            read.append(share_keys_plaintext_separate(plain)[2])
        passed.append(Bundle(bundle.source, bundle.to, encrypt(to, plain)))
    masked = {node: federation.collect(node, passed) for node in federation.nodes}
    pairs = {node: sealing_key(fake[node][0][0], keys[victim][0]) for node in peers}
    found = update_of(unmasked(masked[victim], victim, combine_shares(read), pairs))
    # No site notices: the last stage goes through as in an honest round.
    opened_by_all(federation, federation.nodes, [])
    return federation.verdict(victim, found, "before any unmasking, and no site notices")


@attack("n − 1 invented nodes")
def sybils() -> Outcome:
    federation, victim = Federation(5, threshold=4), 5
    invented = {node: new_keys() for node in federation.nodes if node != victim}
    keys = federation.setup([victim]) | {node: pair[1] for node, pair in invented.items()}
    read = [
        share_keys_plaintext_separate(decrypt(sealing_key(invented[b.to][0][1], keys[victim][1]), b.ciphertext))[2]
        for b in federation.share(victim, keys)
    ]
    bundles = []
    for node, (private, _) in invented.items():
        share = create_shares(bytes(32), 4, 5)[0]
        plain = share_keys_plaintext_concat(node, victim, share, share)
        bundles.append(Bundle(node, victim, encrypt(sealing_key(private[1], keys[victim][1]), plain)))
    masked = federation.collect(victim, bundles)
    pairs = {node: sealing_key(private[0], keys[victim][0]) for node, (private, _) in invented.items()}
    found = update_of(unmasked(masked, victim, combine_shares(read), pairs))
    return federation.verdict(victim, found, "the site cannot tell a peer from an invention; no unmasking needed")


@attack("a key that is not on the curve, of another curve or no key")
def bad_keys() -> Outcome:
    good = generate_key_pairs()[1].public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    off_curve = b"-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n" % base64.b64encode(
        good[:-1] + bytes([good[-1] ^ 1])
    )
    other_curve = public_key_to_bytes(ec.generate_private_key(ec.SECP256R1()).public_key())
    x_key = x25519.X25519PrivateKey.generate().public_key()
    montgomery = x_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    reasons = []
    for bad in (off_curve, other_curve, montgomery, b"no key"):
        for place in (0, 1):
            federation = Federation(3, threshold=2)
            keys = federation.setup()
            pair = list(keys[2])
            pair[place] = bad
            shown = keys | {2: (pair[0], pair[1])}
            bundles: list[Bundle] = []

            def stages(
                federation: Federation = federation,
                keys: dict[int, KeyPair] = keys,
                shown: dict[int, KeyPair] = shown,
                bundles: list[Bundle] = bundles,
            ) -> None:
                federation.share(3, keys)
                bundles += federation.share(2, keys) + federation.share(1, shown)
                federation.collect(1, bundles)

            reasons.append(raised(stages))
    refused = sum(bool(reason) for reason in reasons)
    return (
        f"nothing: {refused} of {len(reasons)} refused by the key library (P-384 has no low-order points)",
        refused < 8,
    )


@attack("the same public key for two nodes, byte for byte")
def same_key_twice() -> Outcome:
    federation = Federation(5, threshold=4)
    keys = federation.setup()
    reason = raised(lambda: federation.share(3, keys | {4: (keys[2][0], keys[4][1])}))
    return f"nothing: {reason}", not reason


@attack("the same public key for two nodes, one with a line feed more")
def same_key_rewritten() -> Outcome:
    """One peer below and one above the site: their two masks are equal, one added and one subtracted."""
    federation, victim = Federation(5, threshold=4), 3
    keys = federation.setup()
    shown = dict(keys)
    for below, above in ((1, 4), (2, 5)):
        shown[above] = (keys[below][0] + b"\n", keys[above][1])
    bundles = [b for node in federation.nodes for b in federation.share(node, shown if node == victim else keys)]
    masked = {node: federation.collect(node, bundles) for node in federation.nodes}
    # An honest unmasking: every site is asked for the self seeds of all survivors.
    opened = opened_by_all(federation, federation.nodes, [])
    seed = combine_shares([each.seeds[victim] for each in opened])
    found = update_of(unmasked(masked[victim], victim, seed, {}))
    return federation.verdict(victim, found, "the pair masks cancel in the site itself; keys are compared as text")


@attack("bundles cut short, swapped or relabelled on the way")
def changed_bundles() -> Outcome:
    reasons = []
    for change in ("cut", "swapped", "relabelled"):
        federation = Federation(4, threshold=3)
        bundles = federation.share_all(federation.setup())
        first, second = [bundle for bundle in bundles if bundle.to == 1][:2]
        elsewhere = next(bundle for bundle in bundles if bundle.source == first.source and bundle.to != 1)
        changed = {
            "cut": [Bundle(first.source, 1, first.ciphertext[:-10]), second],
            "swapped": [Bundle(first.source, 1, elsewhere.ciphertext), second],
            "relabelled": [Bundle(second.source, 1, first.ciphertext), Bundle(first.source, 1, second.ciphertext)],
        }[change]
        reasons.append(raised(functools.partial(federation.collect, 1, changed)))
    refused = all(reason == "InvalidToken" for reason in reasons)
    # The mod trains first and opens the bundles then.
    return f"nothing: {', '.join(reasons)}, once it has trained; that site is out of the round", not refused
