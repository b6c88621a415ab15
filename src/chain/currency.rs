//! What a chain calls its own currency: no block says it.
//!
//! Symbols and decimals are those of the chain registry (<https://github.com/ethereum-lists/chains>, which chainlist.org shows), read
//! 2026-11-28; the coin types are registered in SLIP-0044 (<https://github.com/satoshilabs/slips/blob/master/slip-0044.md>). Where the chain
//! registry names a coin type, that one: AVAX on the C-Chain is 9005. A test network has its main network's currency.

/// A chain's own currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeCurrency {
    /// Its symbol; none where the chain is not known.
    pub symbol: Option<&'static str>,
    /// Places of the decimal point in amounts of transactions.
    pub decimals: u8,
    /// Its coin type of SLIP-0044; none where none is known.
    pub slip44: Option<u32>,
}

impl NativeCurrency {
    /// Of that chain.
    pub fn of_chain(chain_id: u64) -> Self {
        CURRENCIES.iter().find(|(_, _, _, chains)| chains.contains(&chain_id)).map_or(
            Self { symbol: None, decimals: 18, slip44: None },
            |(symbol, decimals, slip44, _)| Self { symbol: Some(symbol), decimals: *decimals, slip44: *slip44 },
        )
    }

    /// Namespace and reference of its CAIP-19 id: `slip44:60`, or `native:coin` where no coin type is known.
    pub fn reference(self) -> String {
        self.slip44.map_or_else(|| "native:coin".to_owned(), |coin| format!("slip44:{coin}"))
    }

    /// Its CAIP-19 id.
    pub fn caip19(self, chain_id: u64) -> String {
        format!("eip155:{chain_id}/{}", self.reference())
    }
}

/// Symbol, decimals, coin type, and the chains.
type Currency = (&'static str, u8, Option<u32>, &'static [u64]);

/// docs/evidence.md repeats the coin types, and tests/evidence/check.py does: a test holds all three equal. What shares a symbol shares the
/// coin. 1337 and 31337 are development chains.
const CURRENCIES: &[Currency] = &[
    (
        "ETH",
        18,
        Some(60),
        &[
            1,
            3,
            4,
            5,
            42,
            17_000,
            560_048,
            11_155_111,
            1337,
            31_337,
            10,
            69,
            420,
            11_155_420,
            8453,
            84_531,
            84_532,
            130,
            1301,
            185,
            255,
            288,
            360,
            424,
            58_008,
            480,
            4801,
            690,
            17_069,
            919,
            34_443,
            1135,
            4202,
            1868,
            1946,
            7560,
            57_073,
            763_373,
            60_808,
            808_813,
            81_457,
            168_587_773,
            747_474,
            7_777_777,
            999_999_999,
            42_161,
            42_170,
            421_611,
            421_613,
            421_614,
            55_244,
            169,
            280,
            300,
            324,
            1101,
            2442,
            2741,
            11_124,
            4326,
            6343,
            7887,
            48_900,
            59_140,
            59_141,
            59_144,
            167_000,
            167_009,
            534_351,
            534_352,
            534_353,
            543_210,
            810_180,
            1_313_161_554,
            1_313_161_555,
        ],
    ),
    ("ETC", 18, Some(61), &[61]),
    ("BNB", 18, Some(714), &[56, 97, 204, 5611]),
    ("POL", 18, Some(966), &[137, 80_002]),
    ("MATIC", 18, Some(966), &[80_001]),
    ("AVAX", 18, Some(9005), &[43_114, 43_113]),
    ("xDAI", 18, Some(700), &[100, 10_200]),
    ("FTM", 18, Some(1007), &[250, 4002]),
    ("S", 18, Some(10_007), &[146, 14_601, 57_054]),
    ("CRO", 18, Some(394), &[25, 338]),
    ("HBAR", 18, Some(3030), &[295, 296, 297]),
    ("FIL", 18, Some(461), &[314, 314_159]),
    ("CELO", 18, Some(52_752), &[42_220, 44_787, 11_142_220]),
    ("TRX", 6, Some(195), &[728_126_428, 2_494_104_990, 3_448_148_188]),
    ("KAIA", 18, Some(8217), &[8217, 1001]),
    ("ROSE", 18, Some(474), &[42_262, 42_261, 23_294, 23_295]),
    ("GLMR", 18, Some(1284), &[1284]),
    ("MOVR", 18, Some(1285), &[1285]),
    ("ASTR", 18, Some(810), &[592]),
    ("SDN", 18, Some(809), &[336]),
    ("ONE", 18, Some(1023), &[1_666_600_000, 1_666_700_000]),
    ("KAVA", 18, Some(459), &[2222, 2221]),
    ("CFX", 18, Some(503), &[1030, 71]),
    ("IOTX", 18, Some(304), &[4689, 4690]),
    ("RBTC", 18, Some(137), &[30, 31]),
    ("XDC", 18, Some(550), &[50, 51]),
    ("WAN", 18, Some(5_718_350), &[888]),
    ("TT", 18, Some(1001), &[108]),
    ("POA", 18, Some(178), &[99, 77]),
    ("EWT", 18, Some(246), &[246]),
    ("CLO", 18, Some(820), &[820]),
    ("UBQ", 18, Some(108), &[8]),
    ("FLR", 18, Some(554), &[14]),
    ("MON", 18, Some(268_435_779), &[143, 10_143]),
    ("HYPE", 18, Some(2457), &[999, 998]),
    ("SEI", 18, Some(19_000_118), &[1329, 1328]),
    ("TLOS", 18, Some(977), &[40, 41]),
    ("SYS", 18, Some(57), &[57, 5700]),
    ("KCS", 18, Some(641), &[321]),
    ("OKT", 18, Some(996), &[66]),
    ("HT", 18, Some(1010), &[128]),
    ("CORE", 18, Some(1116), &[1116]),
    ("CET", 18, Some(688), &[52]),
    ("GO", 18, Some(6060), &[60]),
    ("ELA", 18, Some(2305), &[20]),
    ("VLX", 18, Some(5_655_640), &[106]),
    ("VIC", 18, Some(889), &[88]),
    ("ZETA", 18, Some(7000), &[7000, 7001]),
    ("NRG", 18, Some(9797), &[39_797]),
    ("DFI", 18, Some(1130), &[1130]),
    ("FLOW", 18, Some(539), &[747, 545]),
    ("ACA", 18, Some(787), &[787]),
    ("OAS", 18, Some(685), &[248]),
    ("AIOZ", 18, Some(989), &[168]),
    ("JOC", 18, Some(1012), &[81]),
    ("ZEN", 18, Some(121), &[7332]),
    ("ISLM", 18, Some(1348), &[11_235]),
    ("METIS", 18, None, &[1088]),
    ("EVMOS", 18, None, &[9001]),
    ("CANTO", 18, None, &[7700]),
    ("SGB", 18, None, &[19]),
    ("MNT", 18, None, &[5000, 5003]),
    ("BERA", 18, None, &[80_094, 80_069]),
    ("PLS", 18, None, &[369, 943]),
    ("OKB", 18, None, &[196]),
    ("BTT", 18, None, &[199]),
    ("FUSE", 18, None, &[122]),
    ("TFUEL", 18, None, &[361]),
    ("WEMIX", 18, None, &[1111]),
    ("RON", 18, None, &[2020]),
    ("APE", 18, None, &[33_139]),
    ("IP", 18, None, &[1514]),
    ("DEGEN", 18, None, &[666_666_666]),
    ("BTC", 18, None, &[4200, 200_901]),
    ("IMX", 18, None, &[13_371]),
    ("XPL", 18, None, &[9745]),
    ("PLUME", 18, None, &[98_866]),
    ("SOPH", 18, None, &[50_104]),
    ("VANA", 18, None, &[1480]),
    ("INJ", 18, None, &[1776]),
    ("XTZ", 18, None, &[42_793]),
    ("DEV", 18, None, &[1281, 1287]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(chain_id: u64) -> (Option<&'static str>, u8, String) {
        let currency = NativeCurrency::of_chain(chain_id);
        (currency.symbol, currency.decimals, currency.caip19(chain_id))
    }

    #[test]
    fn each_chain_has_its_own_currency_and_an_unknown_one_has_none() {
        for (chain, symbol, decimals, coin) in [
            (1, "ETH", 18, 60),
            (31337, "ETH", 18, 60),
            (1337, "ETH", 18, 60),
            (100, "xDAI", 18, 700),
            (43114, "AVAX", 18, 9005),
            (250, "FTM", 18, 1007),
            (25, "CRO", 18, 394),
            (295, "HBAR", 18, 3030),
            (61, "ETC", 18, 61),
            (314, "FIL", 18, 461),
            (137, "POL", 18, 966),
            (56, "BNB", 18, 714),
            (728_126_428, "TRX", 6, 195),
        ] {
            assert_eq!(of(chain), (Some(symbol), decimals, format!("eip155:{chain}/slip44:{coin}")));
        }
        assert_eq!(of(5000), (Some("MNT"), 18, "eip155:5000/native:coin".to_owned()));
        for unknown in [0, 2, 424_242_424_242, u64::MAX] {
            assert_eq!(of(unknown), (None, 18, format!("eip155:{unknown}/native:coin")));
        }
    }

    #[test]
    fn no_chain_and_no_symbol_is_in_the_table_twice() {
        let mut chains: Vec<u64> = CURRENCIES.iter().flat_map(|(_, _, _, chains)| chains.iter().copied()).collect();
        let mut symbols: Vec<&str> = CURRENCIES.iter().map(|(symbol, ..)| *symbol).collect();
        let count = (chains.len(), symbols.len());
        chains.sort_unstable();
        chains.dedup();
        symbols.sort_unstable();
        symbols.dedup();
        assert_eq!((chains.len(), symbols.len()), count);
    }

    /// The coin types as the documentation and the independent checker have them: `coin: chain, chain`.
    #[test]
    fn the_documentation_and_the_independent_checker_have_the_same_coin_types() {
        let mut lines: Vec<String> = Vec::new();
        for (_, _, coin, chains) in CURRENCIES {
            let Some(coin) = coin else { continue };
            let chains: Vec<String> = chains.iter().map(u64::to_string).collect();
            lines.push(format!("{coin}: {}", chains.join(" ")));
        }
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected = flat(&lines.join(" "));
        for text in [include_str!("../../docs/evidence.md"), include_str!("../../tests/evidence/check.py")] {
            assert!(flat(text).contains(&expected), "write: {}", lines.join("\n"));
        }
    }
}
